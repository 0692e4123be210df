package plan

import (
	"errors"
	"fmt"
	"path/filepath"
)

// KindClone is the kind of a step that gets a git repository.
const KindClone = "clone"

// Clone is which repository a step gets, and where to.
type Clone struct {
	URL         string       `json:"url"`
	Ref         string       `json:"ref"`
	DestDir     string       `json:"destDir"` // from the working directory
	Depth       int          `json:"depth"`
	Submodules  bool         `json:"submodules"`
	KnownHosts  string       `json:"knownHosts"`
	Credentials *Credentials `json:"credentials"` // nil for none
}

// Credentials are a Secret, mounted as files.
type Credentials struct {
	Secret string `json:"secret"`
	Folder string `json:"folder"`
}

// checkClone says what is wrong with a step of this kind.
func (s *Step) checkClone() error {
	c := s.Clone
	switch {
	case c == nil:
		return errors.New("clone is missing")
	case c.URL == "":
		return errors.New("clone.url is missing")
	case c.Depth < 0:
		return fmt.Errorf("clone.depth is %d, it cannot be negative", c.Depth)
	case c.Credentials != nil && !filepath.IsAbs(c.Credentials.Folder):
		return fmt.Errorf("clone.credentials.folder is %q, which is no absolute path", c.Credentials.Folder)
	}
	return nil
}
