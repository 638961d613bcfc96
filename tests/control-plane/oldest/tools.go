//go:build tools

// Package tools pins the oldest kube-apiserver that manifests are checked against.
package tools

import _ "k8s.io/kubernetes/cmd/kube-apiserver"
