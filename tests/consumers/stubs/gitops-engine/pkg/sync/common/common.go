// Package common has the words for an application's synchronisation that Argo CD's types name.
package common

type (
	SyncPhase      string
	OperationPhase string
	ResultCode     string
	HookType       string
)

const (
	AnnotationDeletionApproved            = "argocd.argoproj.io/deletion-approved"
	ResultCodePruneSkipped     ResultCode = "PruneSkipped"
)
