// What a platform team writes with client-go instead of kubemint: it provisions every context of a kubeconfig, one
// namespace, ServiceAccount, ClusterRole and ClusterRoleBinding, requests a token, uses it once, and writes a kubeconfig.
// Where a kubeconfig exists whose token has most of its life left, it only compares the objects. It tries nothing before
// it writes, keeps no record of tokens and cannot revoke them.
//
// Arguments: the admin kubeconfig, the directory for the kubeconfigs, and the name of what is made.
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"time"

	authentication "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// As many clusters at the same time as kubemint works on.
const concurrency = 64

const lifetime = int64(24 * 60 * 60)

func main() {
	admin, err := clientcmd.LoadFromFile(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := os.MkdirAll(os.Args[2], 0o700); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	contexts := make(chan string)
	var failed sync.Once
	code := 0
	var running sync.WaitGroup
	for range concurrency {
		running.Go(func() {
			for name := range contexts {
				if err := provision(admin, name, os.Args[2], os.Args[3]); err != nil {
					fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
					failed.Do(func() { code = 1 })
				}
			}
		})
	}
	for name := range admin.Contexts {
		contexts <- name
	}
	close(contexts)
	running.Wait()
	os.Exit(code)
}

func provision(admin *api.Config, name, directory, what string) error {
	config, err := clientcmd.NewNonInteractiveClientConfig(*admin, name, &clientcmd.ConfigOverrides{}, nil).ClientConfig()
	if err != nil {
		return err
	}
	config.QPS = -1
	clients, closeClients, err := connect(config)
	if err != nil {
		return err
	}
	defer closeClients()
	ctx := context.Background()
	path := filepath.Join(directory, name+".kubeconfig")
	if lasts(path) {
		return compare(ctx, clients, what)
	}
	if err := create(ctx, clients, what); err != nil {
		return err
	}
	seconds := lifetime
	request := &authentication.TokenRequest{Spec: authentication.TokenRequestSpec{ExpirationSeconds: &seconds}}
	issued, err := clients.CoreV1().ServiceAccounts(what).CreateToken(ctx, what, request, meta.CreateOptions{})
	if err != nil {
		return err
	}
	consumer := rest.AnonymousClientConfig(config)
	consumer.BearerToken = issued.Status.Token
	asConsumer, closeConsumer, err := connect(consumer)
	if err != nil {
		return err
	}
	defer closeConsumer()
	review := &authentication.SelfSubjectReview{}
	if _, err := asConsumer.AuthenticationV1().SelfSubjectReviews().Create(ctx, review, meta.CreateOptions{}); err != nil {
		return err
	}
	written := api.NewConfig()
	written.Clusters[name] = &api.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	written.AuthInfos[name] = &api.AuthInfo{Token: issued.Status.Token}
	written.Contexts[name] = &api.Context{Cluster: name, AuthInfo: name}
	written.CurrentContext = name
	return clientcmd.WriteToFile(*written, path)
}

// connect returns clients, and what closes their connections: those of thousands of clusters are more than a process may
// have open.
func connect(config *rest.Config) (*kubernetes.Clientset, func(), error) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, nil, err
	}
	clients, err := kubernetes.NewForConfigAndClient(config, client)
	return clients, func() { net.CloseIdleConnectionsFor(client.Transport) }, err
}

// lasts tells whether a kubeconfig has a token with most of its life left.
func lasts(path string) bool {
	config, err := clientcmd.LoadFromFile(path)
	if err != nil {
		return false
	}
	for _, user := range config.AuthInfos {
		parts := strings.Split(user.Token, ".")
		if len(parts) != 3 {
			return false
		}
		text, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err != nil {
			return false
		}
		var claims struct{ Exp int64 }
		if json.Unmarshal(text, &claims) != nil || claims.Exp-time.Now().Unix() < lifetime/2 {
			return false
		}
	}
	return len(config.AuthInfos) > 0
}

func role(what string) *rbac.ClusterRole {
	rules := []rbac.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "list"}}}
	return &rbac.ClusterRole{ObjectMeta: meta.ObjectMeta{Name: what}, Rules: rules}
}

func binding(what string) *rbac.ClusterRoleBinding {
	return &rbac.ClusterRoleBinding{
		ObjectMeta: meta.ObjectMeta{Name: what},
		Subjects:   []rbac.Subject{{Kind: "ServiceAccount", Name: what, Namespace: what}},
		RoleRef:    rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "ClusterRole", Name: what},
	}
}

func create(ctx context.Context, clients *kubernetes.Clientset, what string) error {
	options := meta.CreateOptions{}
	named := meta.ObjectMeta{Name: what}
	_, ofNamespace := clients.CoreV1().Namespaces().Create(ctx, &core.Namespace{ObjectMeta: named}, options)
	_, ofAccount := clients.CoreV1().ServiceAccounts(what).Create(ctx, &core.ServiceAccount{ObjectMeta: named}, options)
	_, ofRole := clients.RbacV1().ClusterRoles().Create(ctx, role(what), options)
	_, ofBinding := clients.RbacV1().ClusterRoleBindings().Create(ctx, binding(what), options)
	for _, err := range []error{ofNamespace, ofAccount, ofRole, ofBinding} {
		if errors.IsAlreadyExists(err) {
			return compare(ctx, clients, what)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// compare makes sure that the objects are as they were made.
func compare(ctx context.Context, clients *kubernetes.Clientset, what string) error {
	options := meta.GetOptions{}
	if _, err := clients.CoreV1().ServiceAccounts(what).Get(ctx, what, options); err != nil {
		return err
	}
	is, err := clients.RbacV1().ClusterRoles().Get(ctx, what, options)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(is.Rules, role(what).Rules) {
		is.Rules = role(what).Rules
		if _, err := clients.RbacV1().ClusterRoles().Update(ctx, is, meta.UpdateOptions{}); err != nil {
			return err
		}
	}
	bound, err := clients.RbacV1().ClusterRoleBindings().Get(ctx, what, options)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(bound.Subjects, binding(what).Subjects) || bound.RoleRef != binding(what).RoleRef {
		return fmt.Errorf("ClusterRoleBinding %s is not as it was made", what)
	}
	return nil
}
