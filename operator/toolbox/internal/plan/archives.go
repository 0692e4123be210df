package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The kinds of steps that save and restore files.
const (
	SaveToWorkspace  = "saveToWorkspace"
	RestoreWorkspace = "restoreWorkspace"
	SaveCache        = "saveCache"
	RestoreCache     = "restoreCache"
)

// Archive is what a step of these kinds has besides what all have.
type Archive struct {
	Contents []Content `json:"contents"` // of saveToWorkspace, saveCache
	Key      string    `json:"key"`      // of saveCache
	Keys     []string  `json:"keys"`     // of restoreCache
	DestDir  string    `json:"destDir"`  // of restoreWorkspace, restoreCache
}

// Content is a part of what is saved.
type Content struct {
	SourceDir string   `json:"sourceDir"`
	DestDir   string   `json:"destDir"`
	Paths     []string `json:"paths"`
}

// IsArchive says that the step is of one of these kinds.
func (s *Step) IsArchive() bool {
	return slices.Contains([]string{SaveToWorkspace, RestoreWorkspace, SaveCache, RestoreCache}, s.Kind)
}

func (s *Step) fillArchive() {
	if s.DestDir == "" {
		s.DestDir = "."
	}
	for i := range s.Contents {
		content := &s.Contents[i]
		if content.SourceDir == "" {
			content.SourceDir = "."
		}
		if content.DestDir == "" {
			content.DestDir = "."
		}
		if len(content.Paths) == 0 {
			content.Paths = []string{"**"}
		}
	}
}

func (s *Step) checkArchive(hasGateway bool) error {
	saves := s.Kind == SaveToWorkspace || s.Kind == SaveCache
	switch {
	case !hasGateway:
		return fmt.Errorf("kind is %q, which needs the plan's gateway", s.Kind)
	case saves == (len(s.Contents) == 0):
		return errors.New("contents are needed to save, and for nothing else")
	case (s.Kind == SaveCache) == (s.Key == ""):
		return errors.New("key is needed for saveCache, and for nothing else")
	case (s.Kind == RestoreCache) == (len(s.Keys) == 0):
		return errors.New("keys are needed for restoreCache, and for nothing else")
	case strings.ContainsRune(s.DestDir, 0):
		return errors.New("destDir cannot contain NUL")
	}
	for i, content := range s.Contents {
		if strings.ContainsRune(content.SourceDir+content.DestDir, 0) {
			return fmt.Errorf("contents[%d]: sourceDir and destDir cannot contain NUL", i)
		}
	}
	return nil
}
