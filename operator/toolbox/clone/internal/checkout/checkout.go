package checkout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"strings"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"

	"runabout.dev/toolbox/clone/internal/remote"
)

const (
	attempts   = 3
	firstPause = 2 * time.Second
	origin     = git.DefaultRemoteName
)

// clone is one request at work.
type clone struct {
	request Request
	address remote.Address
	access  *remote.Access
	output  io.Writer
}

// Run does what the request says, with lines about it on output. What the network spoils is tried three times; pause is
// called in between.
func Run(ctx context.Context, request Request, output io.Writer, pause func(time.Duration)) error {
	address, err := remote.Parse(request.URL)
	if err != nil {
		return err
	}
	access, err := remote.NewAccess(address, request.Credentials, request.KnownHosts)
	if err != nil {
		return err
	}
	if err := prepare(request.Folder); err != nil {
		return err
	}
	c := &clone{request: request, address: address, access: access, output: output}
	say(output, "cloning %s into %s", address.URL, request.Folder)
	for attempt := 1; ; attempt++ {
		err := c.attempt(ctx)
		if err == nil {
			return nil
		}
		var failure *remote.Failure
		if !errors.As(err, &failure) || !failure.Again || attempt == attempts {
			return errors.Join(err, empty(request.Folder))
		}
		wait := time.Duration(float64(firstPause) * float64(int(1)<<(attempt-1)) * (0.5 + rand.Float64())) // jitter
		say(output, "%v; trying again in %.1f s (attempt %d of %d)", err, wait.Seconds(), attempt+1, attempts)
		if err := empty(request.Folder); err != nil {
			return err
		}
		pause(wait)
	}
}

func (c *clone) attempt(ctx context.Context) error {
	login, err := c.access.For(c.address)
	if err != nil {
		return err
	}
	explain := func(err error) error { return remote.Explain(err, c.address, login != nil) }
	repository, err := git.PlainInit(c.request.Folder, false)
	if err != nil {
		return fmt.Errorf("the repository cannot be made: %w", err)
	}
	server, err := repository.CreateRemote(&config.RemoteConfig{Name: origin, URLs: []string{c.address.URL}})
	if err != nil {
		return fmt.Errorf("the repository cannot be made: %w", err)
	}
	list, err := server.ListContext(ctx, &git.ListOptions{Auth: login})
	if err != nil {
		return explain(err)
	}
	wanted, err := choose(list, c.request.Ref)
	if err != nil {
		return fmt.Errorf("%s: %w", c.address.URL, err)
	}
	options := git.FetchOptions{
		RemoteName: origin, Auth: login, Depth: c.request.Depth, Progress: &progress{output: c.output}, Tags: git.NoTags, Force: true,
	}
	hash, err := fetch(ctx, repository, wanted, options)
	if err != nil {
		return explain(err)
	}
	if err := checkOut(repository, wanted, hash); err != nil {
		return explain(err)
	}
	if err := c.describe(repository, wanted, hash); err != nil {
		return err
	}
	if c.request.Submodules {
		return c.submodules(ctx, repository, c.address, "", 1)
	}
	return nil
}

// fetch gets the history of what is wanted and returns the commit.
func fetch(ctx context.Context, repository *git.Repository, wanted target, options git.FetchOptions) (plumbing.Hash, error) {
	options.RefSpecs = wanted.specs()
	if wanted.kind == branch && options.Depth == 0 {
		options.Tags = git.TagFollowing
	}
	err := repository.FetchContext(ctx, &options)
	if wanted.kind == commit && errors.Is(err, git.ErrExactSHA1NotSupported) {
		// Servers that give no commit by its id give all branches and tags, with the commit in one of them.
		options.RefSpecs = []config.RefSpec{"+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"}
		options.Depth = 0
		err = repository.FetchContext(ctx, &options)
	}
	if err != nil && !errors.Is(err, git.NoErrAlreadyUpToDate) {
		return plumbing.ZeroHash, err
	}
	return commitOf(repository, wanted.hash)
}

// commitOf follows a tag to its commit.
func commitOf(repository *git.Repository, hash plumbing.Hash) (plumbing.Hash, error) {
	for {
		tag, err := repository.TagObject(hash)
		if err != nil {
			break
		}
		hash = tag.Target
	}
	if _, err := repository.CommitObject(hash); err != nil {
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			return plumbing.ZeroHash, fmt.Errorf("%s is no commit that the server has", hash)
		}
		return plumbing.ZeroHash, err
	}
	return hash, nil
}

func checkOut(repository *git.Repository, wanted target, hash plumbing.Hash) error {
	tree, err := repository.Worktree()
	if err != nil {
		return err
	}
	if wanted.kind != branch {
		if err := tree.Checkout(&git.CheckoutOptions{Hash: hash}); err != nil {
			return err
		}
		return repository.Storer.RemoveReference(fetched)
	}
	name := plumbing.NewBranchReferenceName(wanted.name)
	if err := repository.Storer.SetReference(plumbing.NewHashReference(name, hash)); err != nil {
		return err
	}
	if err := repository.CreateBranch(&config.Branch{Name: wanted.name, Remote: origin, Merge: name}); err != nil {
		return err
	}
	return tree.Checkout(&git.CheckoutOptions{Branch: name})
}

func (c *clone) describe(repository *git.Repository, wanted target, hash plumbing.Hash) error {
	found, err := repository.CommitObject(hash)
	if err != nil {
		return err
	}
	subject, _, _ := strings.Cut(found.Message, "\n")
	say(c.output, "HEAD is %s (%s) %s", hash, wanted, printable(subject))
	return nil
}
