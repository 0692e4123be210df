//go:build tools

// Package tools pins etcd, etcdctl and etcdutl: their own modules have replace directives, which `go install` refuses.
package tools

import (
	_ "go.etcd.io/etcd/etcdctl/v3"
	_ "go.etcd.io/etcd/etcdutl/v3"
	_ "go.etcd.io/etcd/server/v3"
)
