package runner

import (
	"runabout.dev/toolbox/internal/gateway"
	"runabout.dev/toolbox/internal/spool"
)

// uploadLog has the output kept by the gateway too, if there is one. Whatever goes wrong with that is no concern of the
// steps: standard output has everything.
func (t *task) uploadLog() {
	if t.plan.Gateway == nil {
		return
	}
	var copied *spool.Spool
	client, err := gateway.New(*t.plan.Gateway, t.plan.Run, t.plan.Task, t.plan.Attempt, 0, func(string) { copied.Failing() })
	if err != nil {
		return // steps that need it say so
	}
	copied = spool.New(client.PutLog)
	t.spool = copied
	t.log.Copy(copied.Add)
}
