package checkout

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/index"

	"runabout.dev/toolbox/clone/internal/remote"
)

// maxLevel bounds submodules in submodules: a repository can contain itself.
const maxLevel = 32

// submodules gets those of a repository that came from an address, and theirs. Path is where that repository is,
// for what is said.
func (c *clone) submodules(ctx context.Context, repository *git.Repository, address remote.Address, path string, level int) error {
	tree, err := repository.Worktree()
	if err != nil {
		return err
	}
	list, err := tree.Submodules()
	if err != nil {
		return fmt.Errorf("%s.gitmodules cannot be read: %w", path, err)
	}
	entries, err := repository.Storer.Index()
	if err != nil {
		return err
	}
	for _, submodule := range list {
		where := submodule.Config().Path
		entry, err := entries.Entry(where)
		if errors.Is(err, index.ErrEntryNotFound) || err == nil && entry.Mode != filemode.Submodule {
			continue // described, but not part of this commit
		}
		if err != nil {
			return err
		}
		if level > maxLevel {
			return fmt.Errorf("submodule %s%s: there are submodules in submodules more than %d deep", path, printable(where), maxLevel)
		}
		if err := c.submodule(ctx, submodule, entry.Hash, address, path, level); err != nil {
			return fmt.Errorf("submodule %s%s: %w", path, printable(where), err)
		}
	}
	return nil
}

func (c *clone) submodule(
	ctx context.Context, submodule *git.Submodule, commit plumbing.Hash, parent remote.Address, path string, level int,
) error {
	settings := submodule.Config()
	// The name becomes a folder below .git/modules; the library checks the path, and nothing but the last part of the name.
	for _, part := range strings.Split(settings.Name, "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("its name %q cannot be used", settings.Name)
		}
	}
	address, err := parent.Relative(settings.URL)
	if err != nil {
		return err
	}
	login, err := c.access.For(address)
	if err != nil {
		return err
	}
	settings.URL = address.URL
	if err := submodule.Init(); err != nil {
		return err
	}
	err = submodule.UpdateContext(ctx, &git.SubmoduleUpdateOptions{
		Auth: login, Depth: c.request.Depth, RecurseSubmodules: git.NoRecurseSubmodules,
	})
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return fmt.Errorf("%s does not have (or not give) the commit %s", address.URL, commit)
	}
	if err != nil {
		return remote.Explain(err, address, login != nil)
	}
	own, err := submodule.Repository()
	if err != nil {
		return err
	}
	say(c.output, "submodule %s%s is at %s (%s)", path, printable(settings.Path), commit, address.URL)
	return c.submodules(ctx, own, address, path+printable(settings.Path)+"/", level+1)
}
