package transfer

import (
	"context"
	"errors"
	"strings"
	"time"

	"runabout.dev/toolbox/internal/gateway"
)

func (t *transfer) saveToWorkspace(ctx context.Context) error {
	stored, report, err := t.save(ctx, gateway.Workspace(t.options.Number))
	if err != nil {
		return err
	}
	t.say("saved to the workspace: %s, %s packed", amount(report), size(stored.Size))
	return nil
}

func (t *transfer) restoreWorkspace(ctx context.Context) error {
	list, err := t.client.Workspaces(ctx)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		t.say("no task before this one has saved anything")
	}
	for _, one := range list {
		report, _, err := t.restore(ctx, one.Path(), one.Archive)
		if err != nil {
			return &prefixed{"what task " + one.Task + " saved", err}
		}
		t.say("restored what task %s saved: %s", one.Task, amount(report))
	}
	return nil
}

// saveCache fails for what is wrong with key and files. What is wrong with the storage is a notice only: the task has
// done its work, and the next one can do without.
func (t *transfer) saveCache(ctx context.Context) error {
	keys, err := t.render(ctx, []string{t.step.Key})
	if err != nil {
		return err
	}
	key := keys[0]
	// What the Run itself says is no secret, even if some Secret says the same.
	if hidden := t.secrets.Text(key); hidden != key && t.secrets.Text(t.step.Key) == t.step.Key {
		return &failure{"the key has the value of a Secret in it, and keys are stored and shown as they are: take the variable out of it"}
	}
	exists, err := t.client.HasCache(ctx, key)
	switch {
	case err != nil:
		t.say("notice: the cache is not saved: %v", err)
		return nil
	case exists:
		t.say("the cache has %s already: it is left as it is", key)
		return nil
	}
	stored, report, err := t.save(ctx, gateway.Cache(key))
	var own *failure
	switch {
	case errors.Is(err, errEmpty):
		t.say("notice: %v", err)
		return nil
	case errors.As(err, &own):
		return err
	case err != nil:
		t.say("notice: the cache is not saved: %v", err)
	case stored.Existing:
		t.say("the cache has %s meanwhile: it is left as it is", key)
	default:
		t.say("saved to the cache: %s (%s, %s packed)", key, amount(report), size(stored.Size))
	}
	return nil
}

// restoreCache fails for what is wrong with keys and files, and if the storage fails when files are half there.
func (t *transfer) restoreCache(ctx context.Context) error {
	keys, err := t.render(ctx, t.step.Keys)
	if err != nil {
		return err
	}
	found, err := t.client.FindCache(ctx, keys)
	switch {
	case err != nil:
		t.say("notice: the cache is not restored: %v", err)
		return nil
	case found.Key == "":
		t.say("the cache has nothing that begins with %s", strings.Join(keys, ", "))
		return nil
	}
	report, begun, err := t.restore(ctx, found.Path(), found.Archive)
	var own *failure
	switch {
	case err == nil:
		t.say("restored from the cache: %s of %s (%s)", found.Key, found.Created.UTC().Format(time.DateTime+" UTC"), amount(report))
		return nil
	case begun || errors.As(err, &own):
		return &prefixed{"the cache's " + found.Key, err}
	default:
		t.say("notice: the cache is not restored: %v", err)
		return nil
	}
}

// prefixed says what an error is about.
type prefixed struct {
	about string
	err   error
}

func (p *prefixed) Error() string { return p.about + ": " + p.err.Error() }
func (p *prefixed) Unwrap() error { return p.err }
