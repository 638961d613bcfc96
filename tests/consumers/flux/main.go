// Judges a Secret as Flux's controllers do for `spec.kubeConfig.secretRef`.
// A change is followed as they follow it: the Secret is read and a client is built at each reconcile.
package main

import (
	"context"

	"github.com/fluxcd/pkg/apis/meta"
	"github.com/fluxcd/pkg/runtime/client"
	"github.com/go-logr/logr"
	authentication "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	controller "sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"kubemint.dev/tests/consumers/judge"
)

func open(_ context.Context, arguments judge.Arguments) (judge.Follow, error) {
	config, err := arguments.HubConfig()
	if err != nil {
		return nil, err
	}
	hub, err := controller.New(config, controller.Options{})
	if err != nil {
		return nil, err
	}
	reference := &meta.KubeConfigReference{
		SecretRef: &meta.SecretKeyReference{Name: arguments.Secret, Key: arguments.Key},
	}
	// The options are those of a controller that was started without its --insecure-kubeconfig-* flags.
	impersonator := client.NewImpersonator(hub,
		client.WithScheme(hub.Scheme()),
		client.WithKubeConfig(reference, client.KubeConfigOptions{}, arguments.Namespace, nil))

	return func(ctx context.Context) (judge.Connection, error) {
		target, _, err := impersonator.GetClient(ctx)
		if err != nil {
			return judge.Connection{}, err
		}
		server, err := server(ctx, hub, arguments)
		return judge.Connection{
			Server: server,
			Review: func(ctx context.Context, review *authentication.SelfSubjectReview) error {
				return target.Create(ctx, review)
			},
		}, err
	}, nil
}

// server is only for the line: the client that Flux gives does not say where it goes.
func server(ctx context.Context, hub controller.Client, arguments judge.Arguments) (string, error) {
	var secret core.Secret
	name := controller.ObjectKey{Namespace: arguments.Namespace, Name: arguments.Secret}
	if err := hub.Get(ctx, name, &secret); err != nil {
		return "", err
	}
	for _, key := range []string{arguments.Key, "value", "value.yaml"} {
		if text, ok := secret.Data[key]; ok {
			config, err := client.KubeConfigFromBytes(text)
			if err != nil {
				return "", err
			}
			return config.Host, nil
		}
	}
	return "", nil
}

func main() {
	// The client library complains where nobody says what becomes of its log.
	log.SetLogger(logr.Discard())
	judge.Main(judge.Consumer{Name: "flux", Module: "github.com/fluxcd/pkg/runtime", Keyed: true, Open: open})
}
