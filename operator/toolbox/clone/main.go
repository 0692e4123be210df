// runabout-clone gets a git repository for a step of the toolbox, in an image that need not have git.
//
// It is a program of its own because most tasks clone nothing, and what it needs makes it several times as large as the
// toolbox. The request comes as JSON on standard input, with credentials in it, so that these are in no argument, no
// environment and no file. docs/internals/toolbox.md says what is in it; both programs change together.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	_ "golang.org/x/crypto/x509roots/fallback" // for images without certificates; the image's own are stronger

	"runabout.dev/toolbox/clone/internal/checkout"
	"runabout.dev/toolbox/clone/internal/remote"
)

const (
	exitFailed  = 1
	exitRequest = 125
	maxRequest  = 1 << 20
)

func main() { os.Exit(run(os.Stdin, os.Stdout)) }

func run(input io.Reader, output io.Writer) int {
	var request checkout.Request
	decoder := json.NewDecoder(io.LimitReader(input, maxRequest))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&request); err != nil {
		fmt.Fprintf(output, "runabout-clone is started by the toolbox, with a request as JSON on standard input: %v\n", err)
		return exitRequest
	}
	remote.Install()
	if err := checkout.Run(context.Background(), request, output, time.Sleep); err != nil {
		fmt.Fprintf(output, "clone failed: %v\n", err)
		return exitFailed
	}
	return 0
}
