package runner

import (
	"runabout.dev/toolbox/internal/process"
	"runabout.dev/toolbox/internal/transfer"
)

// transfer is the process of a step that saves or restores. It runs as the container, for the sake of the task's token,
// and has the step's files done by a process of the step's user.
func (t *task) transfer(number int, folder string, who person, environment variables) process.Command {
	options := transfer.Options{
		PlanFile: t.planFile, Number: number, Dir: folder, Credential: who.credential, Started: t.started,
	}
	return process.Command{
		// Not by its name: a step can have put something else there.
		Path: "/proc/self/exe", Arguments: options.Arguments(), Environment: environment.list(), Dir: "/",
	}
}
