// Package auth has the types of Nebius' SDK that provider-kubernetes names.
package auth

type BearerToken struct{ Token string }

type PrivateKeyParser struct{}

func NewPrivateKeyParser(privateKey []byte, publicKeyID, serviceAccountID string) PrivateKeyParser {
	return PrivateKeyParser{}
}
