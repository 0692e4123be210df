package runner

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"runabout.dev/toolbox/internal/paths"
)

// folder is the absolute path of a step's working directory.
func (t *task) folder(name, home string) string {
	if !strings.HasPrefix(home, "/") {
		home = "/"
	}
	task := paths.Absolute(t.plan.WorkingDir, home, home)
	if name == "" {
		return task
	}
	return paths.Absolute(name, home, task)
}

// makeFolder creates what is missing of a path; what it creates belongs to the step's user.
func makeFolder(path string, who person) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return fmt.Errorf("%s is not a folder", path)
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	if err := makeFolder(filepath.Dir(path), who); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o755); err != nil {
		return err
	}
	if who.credential == nil {
		return nil
	}
	return os.Lchown(path, int(who.UID), int(who.GID))
}

// lookUp finds a program as a shell would.
func lookUp(name, searchPath string) (string, error) {
	candidates := []string{name}
	if !strings.Contains(name, "/") {
		candidates = nil
		for _, folder := range filepath.SplitList(searchPath) {
			if filepath.IsAbs(folder) { // an empty or relative entry would mean the working directory
				candidates = append(candidates, filepath.Join(folder, name))
			}
		}
	}
	for _, candidate := range candidates {
		info, err := os.Stat(candidate)
		switch {
		case err != nil, info.IsDir():
		case info.Mode()&0o111 == 0:
			return "", fmt.Errorf("the shell %s: %w", candidate, syscall.EACCES)
		default:
			return candidate, nil
		}
	}
	return "", fmt.Errorf("the image has no shell %s", name)
}
