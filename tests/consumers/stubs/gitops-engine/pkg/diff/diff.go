// Package diff has the one interface that Argo CD's kubectl wrapper names; nothing here calls it.
package diff

type KubeApplier any
