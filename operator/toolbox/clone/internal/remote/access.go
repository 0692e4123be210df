package remote

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// connectTime is how long a server may take to answer at all.
const connectTime = 30 * time.Second

// Credentials are a Secret's: of type basic-auth or ssh-auth, or both.
type Credentials struct {
	Username   string `json:"username"`
	Password   string `json:"password"`
	PrivateKey string `json:"privateKey"`
}

// Access gives each repository what it may have of the credentials.
type Access struct {
	home        string
	credentials Credentials
	signer      ssh.Signer
	hosts       *knownhosts.HostKeyDB
}

// NewAccess is access with credentials for the place of the repository at home, and trust in the hosts of a known_hosts
// text.
func NewAccess(home Address, credentials Credentials, knownHosts string) (*Access, error) {
	result := &Access{home: home.place(), credentials: credentials}
	if credentials.PrivateKey != "" {
		signer, err := ssh.ParsePrivateKey([]byte(strings.TrimRight(credentials.PrivateKey, "\r\n ") + "\n"))
		var locked *ssh.PassphraseMissingError
		switch {
		case errors.As(err, &locked):
			return nil, errors.New("the private key has a passphrase; use a key without one")
		case err != nil:
			return nil, errors.New("ssh-privatekey of the credentials is no private key that can be read (PEM, OpenSSH)")
		}
		result.signer = signer
	}
	if strings.TrimSpace(knownHosts) != "" {
		hosts, err := hostKeys(knownHosts)
		if err != nil {
			return nil, fmt.Errorf("knownHosts cannot be used: %w", err)
		}
		result.hosts = hosts
	}
	return result, nil
}

// hostKeys reads a known_hosts text. The library wants a file: one in memory needs no place to write to.
func hostKeys(text string) (*knownhosts.HostKeyDB, error) {
	fd, err := unix.MemfdCreate("known_hosts", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	for rest := []byte(text + "\n"); len(rest) > 0; {
		n, err := unix.Write(fd, rest)
		if err != nil {
			return nil, err
		}
		rest = rest[n:]
	}
	name := "/proc/self/fd/" + strconv.Itoa(fd)
	hosts, err := knownhosts.NewDB(name)
	if err != nil {
		return nil, errors.New(strings.ReplaceAll(err.Error(), name, "line"))
	}
	return hosts, nil
}

// For is how to log in at an address; nil if nothing is to be said there.
func (a *Access) For(address Address) (transport.AuthMethod, error) {
	own := address.place() == a.home
	if address.endpoint.Protocol == "ssh" {
		return a.key(address, own)
	}
	if !own || a.credentials.Username == "" && a.credentials.Password == "" {
		return nil, nil
	}
	if address.endpoint.Protocol == "http" {
		return nil, fmt.Errorf("%s would get the password unencrypted; use https", address.URL)
	}
	return &githttp.BasicAuth{Username: a.credentials.Username, Password: a.credentials.Password}, nil
}

func (a *Access) key(address Address, own bool) (transport.AuthMethod, error) {
	switch {
	case !own:
		return nil, fmt.Errorf("%s: the credentials are for %s only", address.URL, a.home)
	case a.signer == nil:
		return nil, fmt.Errorf("%s needs a key: name a Secret with ssh-privatekey as credentials", address.URL)
	case a.hosts == nil:
		return nil, fmt.Errorf("%s: no ssh host is trusted without knownHosts; put there what `ssh-keyscan %s` prints, after you "+
			"have compared it with what the server's owner publishes", address.URL, address.endpoint.Host)
	}
	user := address.endpoint.User
	if user == "" {
		user = "git"
	}
	host := address.host()
	algorithms := a.hosts.HostKeyAlgorithms(host)
	if len(algorithms) == 0 {
		return nil, fmt.Errorf("%s: the host %s is not in knownHosts, so it is not trusted", address.URL, knownhosts.Normalize(host))
	}
	return &login{user, a.signer, a.hosts.HostKeyCallback(), algorithms}, nil
}

// login logs in over ssh.
type login struct {
	user       string
	signer     ssh.Signer
	callback   ssh.HostKeyCallback
	algorithms []string
}

// Name is that of the method.
func (*login) Name() string { return "ssh-public-keys" }

func (l *login) String() string { return l.Name() + " of " + l.user }

// ClientConfig is what the ssh library needs.
func (l *login) ClientConfig() (*ssh.ClientConfig, error) {
	return &ssh.ClientConfig{
		User:              l.user,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(l.signer)},
		HostKeyCallback:   l.callback,
		HostKeyAlgorithms: l.algorithms,
		Timeout:           connectTime,
	}, nil
}
