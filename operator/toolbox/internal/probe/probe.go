// Package probe asks once whether a service is ready, in the place of a kubelet where there is none.
//
// What always holds: it ends within its time, and nothing that it has started goes on after that.
package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
)

const (
	exitNotReady = 1
	exitUsage    = 2

	usage = "toolbox probe: --timeout DURATION is needed, and tcp PORT, http PORT PATH, https PORT PATH, or exec COMMAND…\n"
)

// Run asks, and returns 0 for ready, 1 for not ready, with the reason on stderr, and 2 for a wrong command line.
func Run(arguments []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("toolbox probe", flag.ContinueOnError)
	flags.SetOutput(stderr)
	timeout := flags.Duration("timeout", 0, "how long the answer may take")
	if err := flags.Parse(arguments); err != nil {
		return exitUsage
	}
	ask := question(flags.Args())
	if ask == nil || *timeout <= 0 {
		fmt.Fprint(stderr, usage)
		return exitUsage
	}
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	if err := ask(ctx); err != nil {
		fmt.Fprintf(stderr, "not ready: %v\n", err)
		return exitNotReady
	}
	return 0
}

// question is what words ask for, nil if they are not as they have to be.
func question(words []string) func(context.Context) error {
	switch {
	case len(words) == 2 && words[0] == "tcp":
		return func(ctx context.Context) error { return connects(ctx, words[1]) }
	case len(words) == 3 && (words[0] == "http" || words[0] == "https"):
		return func(ctx context.Context) error { return answers(ctx, words[0], words[1], words[2]) }
	case len(words) > 1 && words[0] == "exec":
		return func(ctx context.Context) error { return succeeds(ctx, words[1:]) }
	}
	return nil
}

func connects(ctx context.Context, port string) error {
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", net.JoinHostPort(host(), port))
	if err != nil {
		return err
	}
	return connection.Close()
}

// answers takes whatever certificate the service has, and every status from 200 to 399, as a kubelet does.
func answers(ctx context.Context, scheme, port, path string) error {
	address := scheme + "://" + net.JoinHostPort(host(), port) + "/" + strings.TrimPrefix(path, "/")
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	request.Header.Set("User-Agent", "runabout-probe")
	client := &http.Client{
		Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see above
			DisableKeepAlives: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode < http.StatusOK || response.StatusCode >= http.StatusBadRequest {
		return errors.New(response.Status)
	}
	return nil
}

func succeeds(ctx context.Context, words []string) error {
	command := exec.CommandContext(ctx, words[0], words[1:]...)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
	err := command.Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// host is where a kubelet would ask: the pod's own address. A service that listens on the loopback alone is ready for
// nobody on a cluster; it is asked there only where there is no other address.
func host() string {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "127.0.0.1"
	}
	found := "127.0.0.1"
	for _, each := range addresses {
		network, ok := each.(*net.IPNet)
		if !ok || !network.IP.IsGlobalUnicast() {
			continue
		}
		if network.IP.To4() != nil {
			return network.IP.String()
		}
		if found == "127.0.0.1" {
			found = network.IP.String()
		}
	}
	return found
}
