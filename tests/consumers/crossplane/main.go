// Judges a Secret as Crossplane's provider-kubernetes does for a ProviderConfig with `credentials.source: Secret`.
// A change is followed as the provider follows it: it reads the Secret and builds a client at each reconcile.
package main

import (
	"context"

	"github.com/crossplane-contrib/provider-kubernetes/pkg/kube/client"
	"github.com/crossplane-contrib/provider-kubernetes/pkg/kube/config"
	crossplane "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/go-logr/logr"
	authentication "k8s.io/api/authentication/v1"
	controller "sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"kubemint.dev/tests/consumers/judge"
)

func open(_ context.Context, arguments judge.Arguments) (judge.Follow, error) {
	hub, err := arguments.HubConfig()
	if err != nil {
		return nil, err
	}
	local, err := controller.New(hub, controller.Options{})
	if err != nil {
		return nil, err
	}
	builder := client.NewIdentityAwareBuilder(local)

	var provider config.ProviderConfigSpec
	provider.Credentials.Source = crossplane.CredentialsSourceSecret
	provider.Credentials.SecretRef = &crossplane.SecretKeySelector{
		SecretReference: crossplane.SecretReference{Name: arguments.Secret, Namespace: arguments.Namespace},
		Key:             arguments.Key,
	}
	return func(ctx context.Context) (judge.Connection, error) {
		target, config, err := builder.KubeForProviderConfig(ctx, provider)
		if err != nil {
			return judge.Connection{}, err
		}
		return judge.Connection{
			Server: config.Host,
			Review: func(ctx context.Context, review *authentication.SelfSubjectReview) error {
				return target.Create(ctx, review)
			},
		}, nil
	}, nil
}

func main() {
	// The client library complains where nobody says what becomes of its log.
	log.SetLogger(logr.Discard())
	judge.Main(judge.Consumer{
		Name:   "crossplane",
		Module: "github.com/crossplane-contrib/provider-kubernetes",
		Keyed:  true,
		Key:    "kubeconfig",
		Open:   open,
	})
}
