// Package judge is what all the programs here share: arguments, one request to the cluster, one line about it.
// How a Secret becomes a connection is never here: that is the consumer's own code.
package judge

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"time"

	authentication "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Patience is how long a consumer may take to answer, or to notice a change that is on the hub already.
var Patience = 30 * time.Second

// Arguments are what a program is told on its command line.
type Arguments struct {
	Namespace, Secret, Key string

	Hub, HubContext string

	Server, CA, TokenFile string
}

// Connection is what a consumer made of what it read.
type Connection struct {
	Server string
	Review func(context.Context, *authentication.SelfSubjectReview) error
}

// Follow gives the connection that the consumer uses now. It is called once for each request.
type Follow func(context.Context) (Connection, error)

// Open reads the arguments and starts what the consumer keeps running.
type Open func(context.Context, Arguments) (Follow, error)

// Consumer says what a program judges for.
type Consumer struct {
	Name, Module string

	// Keyed is set where the consumer lets its user choose the key in the Secret; Key is its default.
	Keyed bool
	Key   string

	// File is set where the consumer reads no Secret but a file with a token.
	File bool

	Open Open
}

type line struct {
	Consumer string `json:"consumer"`
	Module   string `json:"module"`
	User     string `json:"user,omitempty"`
	Server   string `json:"server,omitempty"`

	// Credential tells one token from the next without showing either: it is the token's `jti`.
	Credential string `json:"credential,omitempty"`

	Error string `json:"error,omitempty"`
}

const credentialID = "authentication.kubernetes.io/credential-id"

// Main runs a program.
func Main(consumer Consumer) {
	// The consumers' libraries log wherever they like: standard output is kept for the lines.
	lines := json.NewEncoder(os.Stdout)
	os.Stdout = os.Stderr

	if err := run(consumer, lines); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(consumer Consumer, lines *json.Encoder) error {
	var arguments Arguments
	follow := flag.Bool("follow", false, "after the first request, make another for each line on standard input")
	flag.DurationVar(&Patience, "patience", Patience, "how long the consumer may take")
	if consumer.File {
		flag.StringVar(&arguments.Server, "server", "", "URL of the cluster")
		flag.StringVar(&arguments.CA, "ca", "", "file with the cluster's CA")
		flag.StringVar(&arguments.TokenFile, "token-file", "", "file with the token")
	} else {
		flag.StringVar(&arguments.Hub, "hub", "", "kubeconfig of the hub")
		flag.StringVar(&arguments.HubContext, "hub-context", "", "context in it; without: its current context")
		flag.StringVar(&arguments.Namespace, "namespace", "", "namespace of the Secret")
		flag.StringVar(&arguments.Secret, "secret", "", "name of the Secret")
		if consumer.Keyed {
			flag.StringVar(&arguments.Key, "key", consumer.Key, "key in the Secret, as the consumer's user would name it")
		}
	}
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flag.Arg(0))
	}

	ctx := context.Background()
	next, err := consumer.Open(ctx, arguments)
	if err != nil {
		return err
	}
	// The first answer decides: a consumer that refuses what it was given has nothing to follow.
	first, err := ask(ctx, consumer, next)
	if err != nil {
		return err
	}
	if err := lines.Encode(first); err != nil || !*follow {
		return err
	}
	for input := bufio.NewScanner(os.Stdin); input.Scan(); {
		answer, err := ask(ctx, consumer, next)
		if err != nil {
			// A consumer goes on after a refusal, and so does this: a later line may find the next token.
			answer = line{Consumer: consumer.Name, Module: module(consumer.Module), Error: err.Error()}
		}
		if err := lines.Encode(answer); err != nil {
			return err
		}
	}
	return nil
}

func ask(ctx context.Context, consumer Consumer, next Follow) (answer line, err error) {
	// A Secret that makes a consumer panic is the worst of refusals, and still one.
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("the code of %s panics: %v", consumer.Name, panicked)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, 2*Patience)
	defer cancel()

	connection, err := next(ctx)
	if err != nil {
		return line{}, err
	}
	var review authentication.SelfSubjectReview
	if err := connection.Review(ctx, &review); err != nil {
		return line{}, err
	}
	return line{
		Consumer:   consumer.Name,
		Module:     module(consumer.Module),
		User:       review.Status.UserInfo.Username,
		Server:     connection.Server,
		Credential: strings.Join(review.Status.UserInfo.Extra[credentialID], " "),
	}, nil
}

// module says which version of the consumer this program was built with, from the program itself.
func module(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return path
	}
	for _, dependency := range info.Deps {
		if dependency.Path == path {
			return path + "@" + dependency.Version
		}
	}
	return path
}

// HubConfig gives the configuration of the hub, as an administrator has it.
func (arguments Arguments) HubConfig() (*rest.Config, error) {
	if arguments.Hub == "" || arguments.Namespace == "" || arguments.Secret == "" {
		return nil, errors.New("--hub, --namespace and --secret are needed")
	}
	rules := &clientcmd.ClientConfigLoadingRules{ExplicitPath: arguments.Hub}
	overrides := &clientcmd.ConfigOverrides{CurrentContext: arguments.HubContext}
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
}

// Live reads the Secret itself, to tell a consumer that is late from one that ignores it.
func (arguments Arguments) Live(ctx context.Context, hub coreclient.SecretsGetter) (*core.Secret, error) {
	return hub.Secrets(arguments.Namespace).Get(ctx, arguments.Secret, meta.GetOptions{})
}

// Connect makes a connection from a configuration as client-go does, or with the consumer's HTTP client.
func Connect(config *rest.Config, client *http.Client) (Connection, error) {
	var authenticator *authenticationclient.AuthenticationV1Client
	var err error
	if client == nil {
		authenticator, err = authenticationclient.NewForConfig(config)
	} else {
		authenticator, err = authenticationclient.NewForConfigAndClient(config, client)
	}
	if err != nil {
		return Connection{}, err
	}
	return Connection{
		Server: config.Host,
		Review: func(ctx context.Context, review *authentication.SelfSubjectReview) error {
			answer, err := authenticator.SelfSubjectReviews().Create(ctx, review, meta.CreateOptions{})
			if err == nil {
				*review = *answer
			}
			return err
		},
	}, nil
}

// Until asks again and again, until the consumer has noticed or Patience ends.
func Until(ctx context.Context, what string, noticed func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, Patience)
	defer cancel()
	for {
		if done, err := noticed(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("after %s: %s", Patience, what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
