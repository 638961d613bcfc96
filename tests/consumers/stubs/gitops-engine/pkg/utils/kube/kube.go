// Package kube has what Argo CD's types and its kubectl wrapper name; nothing here applies anything.
package kube

import (
	"errors"

	"github.com/argoproj/argo-cd/gitops-engine/pkg/diff"
	"github.com/argoproj/argo-cd/gitops-engine/pkg/utils/tracing"
)

const (
	DaemonSetKind   = "DaemonSet"
	DeploymentKind  = "Deployment"
	JobKind         = "Job"
	ReplicaSetKind  = "ReplicaSet"
	StatefulSetKind = "StatefulSet"
)

type ResourceKey struct{ Group, Kind, Namespace, Name string }

func NewResourceKey(group, kind, namespace, name string) ResourceKey {
	return ResourceKey{group, kind, namespace, name}
}

type (
	Kubectl          any
	OnKubectlRunFunc any
)

// KubectlCmd takes any logger, so that this module needs no other.
type KubectlCmd struct {
	Log          any
	Tracer       tracing.Tracer
	OnKubectlRun OnKubectlRunFunc
}

func (*KubectlCmd) ManageServerSideDiffDryRuns(any) (diff.KubeApplier, func(), error) {
	return nil, nil, errors.New("kubectl is not part of this stub")
}
