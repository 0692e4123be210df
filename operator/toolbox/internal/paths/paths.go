// Package paths says what a path in a plan means.
package paths

import (
	"path/filepath"
	"strings"
)

// Absolute makes a path absolute: ~ is home, what is relative begins at base.
func Absolute(path, home, base string) string {
	switch {
	case path == "~" || strings.HasPrefix(path, "~/"):
		return filepath.Join(home, path[1:])
	case filepath.IsAbs(path):
		return filepath.Clean(path)
	default:
		return filepath.Join(base, path)
	}
}
