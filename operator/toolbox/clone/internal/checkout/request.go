// Package checkout gets a repository at one commit into a folder.
//
// What always holds: the folder is empty before, and after an attempt that failed; nothing of the credentials is written
// anywhere; the history that is fetched is that of what was asked for, not of every branch.
package checkout

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"runabout.dev/toolbox/clone/internal/remote"
)

// Request is what a clone step asks for.
type Request struct {
	URL string `json:"url"`
	// Ref is a branch, a tag, a whole commit id, a full name (refs/…), or HEAD for the default branch.
	Ref string `json:"ref"`
	// Folder is absolute.
	Folder string `json:"folder"`
	// Depth is how many commits of history, 0 for all.
	Depth       int                `json:"depth"`
	Submodules  bool               `json:"submodules"`
	KnownHosts  string             `json:"knownHosts"`
	Credentials remote.Credentials `json:"credentials"`
}

// lostAndFound is what a volume of its own may have.
const lostAndFound = "lost+found"

// prepare makes the folder, which must be empty if it is there.
func prepare(folder string) error {
	if !filepath.IsAbs(folder) {
		return fmt.Errorf("the folder %q is not absolute", folder)
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("the folder cannot be made: %w; set destDir to a place where the step's user may write", err)
	}
	found, err := content(folder)
	if err != nil {
		return err
	}
	if len(found) > 0 {
		const some = 3
		names := found[:min(len(found), some)]
		more := ""
		if len(found) > some {
			more = fmt.Sprintf(" and %d more", len(found)-some)
		}
		return fmt.Errorf("%s is not empty, it holds %s%s; clone first, or set destDir to another folder",
			folder, strings.Join(names, ", "), more)
	}
	return nil
}

func content(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("the folder cannot be read: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if entry.Name() != lostAndFound {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}

// empty removes what an attempt left behind.
func empty(folder string) error {
	names, err := content(folder)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := os.RemoveAll(filepath.Join(folder, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// say writes a line of what is going on.
func say(output io.Writer, format string, values ...any) {
	fmt.Fprintf(output, format+"\n", values...)
}
