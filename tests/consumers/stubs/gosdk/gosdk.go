// Package gosdk stands in for Nebius' SDK, and has no credentials to give.
package gosdk

import (
	"context"
	"errors"

	"github.com/nebius/gosdk/auth"
)

type (
	SDK         struct{}
	Option      struct{}
	Credentials struct{}
)

var errStub = errors.New("Nebius' SDK is not part of this stub")

func New(context.Context, ...Option) (*SDK, error) { return nil, errStub }

func WithCredentials(Credentials) Option { return Option{} }

func ServiceAccountReader(auth.PrivateKeyParser) Credentials { return Credentials{} }

func (*SDK) BearerToken(context.Context) (auth.BearerToken, error) {
	return auth.BearerToken{}, errStub
}
