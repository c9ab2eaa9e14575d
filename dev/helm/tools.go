//go:build tools

// Package tools names the programs that install charts, so that go.sum pins each of them.
package tools

import _ "helm.sh/helm/v4/cmd/helm"
