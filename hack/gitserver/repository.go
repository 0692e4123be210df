package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-git/go-billy/v5/memfs"
	"github.com/go-git/go-billy/v5/util"
	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/memory"
)

const branch = "main"

// epoch is when every commit was made: the same files are the same commit, whoever serves them and whenever.
var epoch = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// repositoryOf returns a repository in memory whose branch main has one commit, of the files of a folder. Scripts (files
// that begin with #!) are executable. A volume's own files (names that begin with two dots) are left out.
func repositoryOf(folder string) (storer.Storer, error) {
	files := memfs.New()
	repository, err := git.InitWithOptions(memory.NewStorage(), files, git.InitOptions{DefaultBranch: plumbing.NewBranchReferenceName(branch)})
	if err != nil {
		return nil, err
	}
	count := 0
	err = filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case strings.HasPrefix(entry.Name(), ".."):
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case entry.IsDir():
			return nil
		}
		data, err := os.ReadFile(path) // through the links that a volume's files are
		if err != nil {
			return err
		}
		name, err := filepath.Rel(folder, path)
		if err != nil {
			return err
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(string(data), "#!") {
			mode = 0o755
		}
		count++
		return util.WriteFile(files, filepath.ToSlash(name), data, mode)
	})
	if err != nil {
		return nil, err
	}
	if count == 0 {
		return nil, fmt.Errorf("%s has no files to make a repository of", folder)
	}
	tree, err := repository.Worktree()
	if err != nil {
		return nil, err
	}
	if err := tree.AddWithOptions(&git.AddOptions{All: true}); err != nil {
		return nil, err
	}
	author := object.Signature{Name: "Example", Email: "example@example.org", When: epoch}
	_, err = tree.Commit("Begin\n", &git.CommitOptions{Author: &author, Committer: &author})
	return repository.Storer, err
}
