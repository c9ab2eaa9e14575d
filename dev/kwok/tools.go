//go:build tools

// Package tools names the program that pretends nodes, so that go.sum pins it.
package tools

import _ "sigs.k8s.io/kwok/cmd/kwok"
