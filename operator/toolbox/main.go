// The toolbox runs the steps of a task inside any image.
//
// It is process 1 of a task's main container: it needs nothing from the image, marks the steps' output so that the
// exact bytes of each can be told apart, and leaves a summary in the termination message. The contract with the
// operator is docs/internals/toolbox.md; both sides change together.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"

	"runabout.dev/toolbox/internal/files"
	"runabout.dev/toolbox/internal/install"
	"runabout.dev/toolbox/internal/probe"
	"runabout.dev/toolbox/internal/runner"
	"runabout.dev/toolbox/internal/transfer"
)

const version = "0.1.0"

const usage = `toolbox runs the steps of a task.

  toolbox install DIR        copy this program to DIR/toolbox; with the word clone behind it, runabout-clone too
  toolbox run --plan FILE    run a plan, as the main process of a container
  toolbox version            say which version this is
`

// exitUsage is what a wrong command line ends with; no plan can end with it unless a step does.
const exitUsage = 2

func main() {
	os.Exit(command(os.Args[1:], os.Stdout, os.Stderr))
}

func command(arguments []string, stdout, stderr io.Writer) int {
	if len(arguments) == 0 {
		fmt.Fprint(stderr, usage)
		return exitUsage
	}
	switch verb, rest := arguments[0], arguments[1:]; verb {
	case "install":
		return installTo(rest, stderr)
	case "run":
		return run(rest, stderr)
	case "transfer":
		return transferStep(rest, stdout, stderr)
	case "probe":
		return probe.Run(rest, stderr)
	case "files":
		return files.Run(os.Stdin, stdout)
	case "version":
		fmt.Fprintf(stdout, "toolbox %s %s/%s\n", version, runtime.GOOS, runtime.GOARCH)
		return 0
	case "help", "-h", "--help":
		fmt.Fprint(stdout, usage)
		return 0
	default:
		fmt.Fprintf(stderr, "toolbox: unknown command %q\n\n%s", verb, usage)
		return exitUsage
	}
}

func installTo(arguments []string, stderr io.Writer) int {
	clone := len(arguments) == 2 && arguments[1] == "clone"
	if len(arguments) != 1 && !clone {
		fmt.Fprint(stderr, "toolbox install takes one folder, and clone behind it or nothing\n")
		return exitUsage
	}
	err := install.To(arguments[0])
	if err == nil && clone {
		err = install.Beside(arguments[0], install.Clone)
	}
	if err != nil {
		fmt.Fprintf(stderr, "toolbox install: %v\n", err)
		return 1
	}
	return 0
}

func run(arguments []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("toolbox run", flag.ContinueOnError)
	flags.SetOutput(stderr)
	planFile := flags.String("plan", "", "the plan, a JSON `file`")
	terminationLog := flags.String("termination-log", "/dev/termination-log", "the `file` the summary is written to")
	parent := flags.Int("parent", 0, "the `process` that starts this one; when it ends, that is a stop")
	if err := flags.Parse(arguments); err != nil {
		return exitUsage
	}
	if *planFile == "" || flags.NArg() != 0 {
		fmt.Fprint(stderr, "toolbox run: --plan FILE is needed, and nothing else\n")
		return exitUsage
	}
	return runner.Run(runner.Options{
		Version:        version,
		PlanFile:       *planFile,
		TerminationLog: *terminationLog,
		Parent:         *parent,
	})
}

// transferStep is how a run executes a step that saves or restores; nobody else needs it.
func transferStep(arguments []string, stdout, stderr io.Writer) int {
	options, err := transfer.Parse(arguments)
	if err != nil {
		fmt.Fprintf(stderr, "toolbox transfer is started by toolbox run: %v\n", err)
		return exitUsage
	}
	return transfer.Run(options, stdout)
}
