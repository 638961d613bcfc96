// Judges a file with a bare token as Prometheus, Thanos and all that use its HTTP client do.
// A change is followed as they follow it: one client, which reads the file for every request.
package main

import (
	"context"
	"errors"
	"strconv"

	"github.com/prometheus/common/config"
	"k8s.io/client-go/rest"

	"kubemint.dev/tests/consumers/judge"
)

func open(_ context.Context, arguments judge.Arguments) (judge.Follow, error) {
	if arguments.Server == "" || arguments.CA == "" || arguments.TokenFile == "" {
		return nil, errors.New("--server, --ca and --token-file are needed")
	}
	// From its text, so that what Prometheus checks in a configuration is checked.
	settings, err := config.LoadHTTPConfig("authorization:\n  credentials_file: " + strconv.Quote(arguments.TokenFile) +
		"\ntls_config:\n  ca_file: " + strconv.Quote(arguments.CA) + "\n")
	if err != nil {
		return nil, err
	}
	client, err := config.NewClientFromConfig(*settings, "kubemint")
	if err != nil {
		return nil, err
	}
	return func(context.Context) (judge.Connection, error) {
		return judge.Connect(&rest.Config{Host: arguments.Server}, client)
	}, nil
}

func main() {
	judge.Main(judge.Consumer{Name: "prometheus", Module: "github.com/prometheus/common", File: true, Open: open})
}
