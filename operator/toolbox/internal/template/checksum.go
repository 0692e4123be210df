package template

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"runabout.dev/toolbox/internal/paths"
)

// checksum is the SHA-256 of a file, as sha256sum writes it; of a pattern, that of the list that sha256sum would write
// for all files that fit, sorted by name.
func (c Context) checksum(pattern string) (string, error) {
	if !strings.ContainsAny(pattern, `*?[{\`) {
		return sumOf(c.absolute(pattern))
	}
	if !doublestar.ValidatePattern(pattern) {
		return "", errors.New("the pattern is not valid: a bracket or a brace is not closed")
	}
	base, rest := doublestar.SplitPattern(pattern)
	root := c.absolute(base)
	names, err := doublestar.Glob(os.DirFS(root), rest, doublestar.WithFilesOnly(), doublestar.WithNoFollow(), doublestar.WithFailOnIOErrors())
	if err != nil {
		return "", err
	}
	if len(names) == 0 {
		return "", fmt.Errorf("no file in %s fits", root)
	}
	slices.Sort(names)
	list := sha256.New()
	for _, name := range names {
		sum, err := sumOf(filepath.Join(root, name))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(list, "%s  %s\n", sum, path.Join(base, name))
	}
	return hex.EncodeToString(list.Sum(nil)), nil
}

func (c Context) absolute(name string) string { return paths.Absolute(name, c.Home, c.Dir) }

func sumOf(file string) (string, error) {
	source, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer source.Close()
	if info, err := source.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is no file", file)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, source); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
