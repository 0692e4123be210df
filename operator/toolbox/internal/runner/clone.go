package runner

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"runabout.dev/toolbox/internal/install"
	"runabout.dev/toolbox/internal/paths"
	"runabout.dev/toolbox/internal/plan"
	"runabout.dev/toolbox/internal/process"
	"runabout.dev/toolbox/internal/summary"
)

// credentials are what a Secret for git can have; known_hosts is not in its type, and many put it there.
type credentials struct {
	Username   string `json:"username"`
	Password   string `json:"password"`
	PrivateKey string `json:"privateKey"`
	knownHosts string
}

// cloneRequest is what runabout-clone reads from its standard input.
type cloneRequest struct {
	URL         string      `json:"url"`
	Ref         string      `json:"ref"`
	Folder      string      `json:"folder"`
	Depth       int         `json:"depth"`
	Submodules  bool        `json:"submodules"`
	KnownHosts  string      `json:"knownHosts"`
	Credentials credentials `json:"credentials"`
}

// readCredentials reads a mounted Secret. What is not there is empty.
func readCredentials(folder string) (credentials, error) {
	var result credentials
	for name, target := range map[string]*string{
		"username": &result.Username, "password": &result.Password,
		"ssh-privatekey": &result.PrivateKey, "known_hosts": &result.knownHosts,
	} {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return credentials{}, err
		}
		*target = string(text)
	}
	return result, nil
}

// cloneInput is the request as the standard input of runabout-clone: no argument, no environment and no file has the
// credentials. The caller closes it.
func (t *task) cloneInput(step *plan.Step, command process.Command) (*os.File, error) {
	asked := step.Clone
	home := ""
	for _, variable := range command.Environment {
		if value, found := strings.CutPrefix(variable, "HOME="); found {
			home = value
		}
	}
	request := cloneRequest{
		URL: asked.URL, Ref: asked.Ref, Depth: asked.Depth, Submodules: asked.Submodules, KnownHosts: asked.KnownHosts,
		Folder: paths.Absolute(asked.DestDir, home, command.Dir),
	}
	if asked.Credentials != nil {
		found, err := readCredentials(asked.Credentials.Folder)
		if err != nil {
			return nil, refuse(summary.CannotStart, "its credentials, Secret %s, cannot be read: %w", asked.Credentials.Secret, err)
		}
		if found.Username == "" && found.Password == "" && found.PrivateKey == "" {
			return nil, refuse(summary.CannotStart, "its credentials: the Secret %s is not there, or has neither username "+
				"and password nor ssh-privatekey; create it in the Run's namespace", asked.Credentials.Secret)
		}
		request.Credentials = found
		request.KnownHosts += "\n" + found.knownHosts
	}
	text, err := json.Marshal(request)
	if err != nil {
		return nil, refuse(summary.Internal, "%w", err)
	}
	// Not os.Pipe, whose ends do not block: programs do not expect that of their standard input.
	var ends [2]int
	if err := syscall.Pipe2(ends[:], syscall.O_CLOEXEC); err != nil {
		return nil, refuse(summary.CannotStart, "%w", err)
	}
	read, write := os.NewFile(uintptr(ends[0]), "request"), os.NewFile(uintptr(ends[1]), "request")
	go func() {
		_, _ = write.Write(text) // a reader that goes away says why itself
		write.Close()
	}()
	return read, nil
}

// cloneProgram lies beside the toolbox.
func cloneProgram() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", refuse(summary.CannotStart, "%w", err)
	}
	return filepath.Join(filepath.Dir(self), install.Clone), nil
}
