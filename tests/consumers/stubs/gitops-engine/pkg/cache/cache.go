// Package cache has the settings of a cluster's cache that Argo CD's settings name.
package cache

const (
	RespectRbacDisabled = iota
	RespectRbacNormal
	RespectRbacStrict
)
