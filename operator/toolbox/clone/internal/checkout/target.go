package checkout

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
)

type kind int

const (
	branch kind = iota
	tag
	commit
	other // a full name that is neither branch nor tag
)

// target is what a ref stands for.
type target struct {
	kind kind
	name string // of branch and tag without refs/…; a commit has none
	hash plumbing.Hash
	from string // of a commit, a name that stands for it; without one the server is asked for the id
}

// fetched is where a commit is kept until HEAD names it.
const fetched = plumbing.ReferenceName("refs/runabout/fetched")

var (
	whole   = regexp.MustCompile(`\A[0-9a-fA-F]{40}\z`)
	partial = regexp.MustCompile(`\A[0-9a-fA-F]{7,39}\z`)
)

func (t target) String() string {
	switch t.kind {
	case branch:
		return "branch " + t.name
	case tag:
		return "tag " + t.name
	case commit:
		return "commit"
	default:
		return t.name
	}
}

// specs say what to fetch, and under which name it is kept.
func (t target) specs() []config.RefSpec {
	spec := ""
	switch t.kind {
	case branch:
		spec = fmt.Sprintf("+refs/heads/%[1]s:refs/remotes/origin/%[1]s", t.name)
	case tag:
		spec = fmt.Sprintf("+refs/tags/%[1]s:refs/tags/%[1]s", t.name)
	case commit:
		source := t.from
		if source == "" {
			source = t.hash.String()
		}
		spec = fmt.Sprintf("+%s:%s", source, fetched)
	case other:
		spec = fmt.Sprintf("+%[1]s:%[1]s", t.name)
	}
	return []config.RefSpec{config.RefSpec(spec)}
}

// choose finds what a ref stands for in the list of a server: a whole commit id, else a full name, a branch, a tag.
func choose(list []*plumbing.Reference, ref string) (target, error) {
	byName := map[plumbing.ReferenceName]*plumbing.Reference{}
	for _, reference := range list {
		byName[reference.Name()] = reference
	}
	if ref == "" || ref == "HEAD" {
		return head(byName)
	}
	if whole.MatchString(ref) {
		return byHash(list, plumbing.NewHash(strings.ToLower(ref))), nil
	}
	for _, candidate := range []struct {
		kind   kind
		prefix string
	}{{branch, "refs/heads/"}, {tag, "refs/tags/"}} {
		name := strings.TrimPrefix(ref, candidate.prefix)
		if found := byName[plumbing.ReferenceName(candidate.prefix+name)]; found != nil {
			return target{kind: candidate.kind, name: name, hash: found.Hash()}, nil
		}
	}
	if found := byName[plumbing.ReferenceName(ref)]; found != nil && strings.HasPrefix(ref, "refs/") {
		return target{kind: other, name: ref, hash: found.Hash()}, nil
	}
	if partial.MatchString(ref) {
		return target{}, fmt.Errorf("there is no branch or tag %s; if it is a commit, write all 40 characters: "+
			"servers do not find abbreviated ones", ref)
	}
	return target{}, fmt.Errorf("there is no branch, tag or commit %q; %s", ref, branches(list))
}

func head(byName map[plumbing.ReferenceName]*plumbing.Reference) (target, error) {
	found := byName[plumbing.HEAD]
	if found == nil {
		return target{}, fmt.Errorf("the server has no default branch; set ref")
	}
	if found.Type() == plumbing.HashReference {
		return target{kind: commit, hash: found.Hash(), from: "HEAD"}, nil
	}
	at := byName[found.Target()]
	if at == nil {
		return target{}, fmt.Errorf("the default branch %s is not there; set ref", found.Target().Short())
	}
	if !at.Name().IsBranch() {
		return target{kind: other, name: at.Name().String(), hash: at.Hash()}, nil
	}
	return target{kind: branch, name: at.Name().Short(), hash: at.Hash()}, nil
}

// byHash fetches a commit that a name stands for by the name: not every server gives commits by their ids.
func byHash(list []*plumbing.Reference, hash plumbing.Hash) target {
	result := target{kind: commit, hash: hash}
	for _, reference := range list {
		if reference.Type() == plumbing.HashReference && reference.Hash() == hash {
			result.from = reference.Name().String()
			break
		}
	}
	return result
}

func branches(list []*plumbing.Reference) string {
	const some = 10
	var names []string
	for _, reference := range list {
		if reference.Name().IsBranch() {
			names = append(names, reference.Name().Short())
		}
	}
	slices.Sort(names) // they come in no order
	count := len(names)
	names = names[:min(count, some)]
	switch {
	case count == 0:
		return "there are no branches"
	case count > some:
		return fmt.Sprintf("there are the branches %s and %d more", strings.Join(names, ", "), count-some)
	default:
		return "there are the branches " + strings.Join(names, ", ")
	}
}
