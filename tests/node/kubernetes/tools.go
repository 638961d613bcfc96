//go:build tools

// Package tools pins the programs of Kubernetes that a node needs beside those of tests/control-plane.
package tools

import (
	_ "k8s.io/kubernetes/cmd/kube-scheduler"
	_ "k8s.io/kubernetes/cmd/kubelet"
)
