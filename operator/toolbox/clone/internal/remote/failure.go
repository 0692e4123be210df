package remote

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	"github.com/skeema/knownhosts"
)

// Failure is an error in plain words.
type Failure struct {
	text string
	// Again says whether the same may well succeed in a moment.
	Again bool
}

func (f *Failure) Error() string { return f.text }

// Explain says what an error of the git library means; loggedIn says whether credentials were used.
func Explain(err error, address Address, loggedIn bool) error {
	if err == nil {
		return nil
	}
	var own *Failure
	if errors.As(err, &own) {
		return own
	}
	text, again := meaning(err, loggedIn)
	return &Failure{text: address.URL + ": " + text, Again: again}
}

func meaning(err error, loggedIn bool) (text string, again bool) {
	var (
		untrusted *tls.CertificateVerificationError
		unknown   x509.UnknownAuthorityError
		name      *net.DNSError
		status    *githttp.Err
		surprise  *plumbing.UnexpectedError
	)
	if errors.As(err, &surprise) { // it does not unwrap
		err = surprise.Err
		errors.As(err, &status)
	}
	said := err.Error()
	switch {
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return "there is no such repository, or it may not be seen" + with(loggedIn), false
	case errors.Is(err, transport.ErrAuthenticationRequired) && loggedIn:
		return "authentication failed: the server does not accept username and password of the credentials", false
	case errors.Is(err, transport.ErrAuthenticationRequired):
		return "the server wants a user's name and password (some say so of repositories that do not exist): " +
			"name a Secret of type kubernetes.io/basic-auth as credentials", false
	case errors.Is(err, transport.ErrAuthorizationFailed):
		return "access refused" + with(loggedIn), false
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return "the repository is empty", false
	case knownhosts.IsHostKeyChanged(err):
		return "the host's key is not the one in knownHosts: it has been replaced, or somebody else answers", false
	case knownhosts.IsHostUnknown(err):
		return "the host is not in knownHosts, so it is not trusted", false
	case strings.Contains(said, "ssh: unable to authenticate"):
		return "authentication failed: the server does not accept the private key of the credentials", false
	case strings.Contains(said, "no common algorithm for host key"):
		return "the server has no host key of a kind that is in knownHosts", false
	case errors.As(err, &untrusted), errors.As(err, &unknown):
		return fmt.Sprintf("the server's certificate is not trusted (%v); have your authority in the image, or set SSL_CERT_FILE "+
			"in the step's environment", cause(err)), false
	case strings.Contains(said, "http redirect:"):
		return said[strings.Index(said, "http redirect:"):], false
	case strings.Contains(said, "not our ref"):
		return "the server has no such commit", false
	case status != nil:
		code := status.StatusCode()
		again = code == http.StatusTooManyRequests || code >= http.StatusInternalServerError
		return fmt.Sprintf("the server answered %d %s", code, http.StatusText(code)), again
	case errors.As(err, &name):
		return fmt.Sprintf("the host %s cannot be found: %s", name.Name, name.Err), true
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "no space is left for the files", false
	case broken(err):
		return fmt.Sprintf("the connection failed: %v", cause(err)), true
	default:
		return said, false
	}
}

// broken says whether it was the network.
func broken(err error) bool {
	var operation *net.OpError
	var slow net.Error // which every error number of the system is, too
	if errors.As(err, &operation) || errors.As(err, &slow) && slow.Timeout() || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return true
	}
	for _, number := range []syscall.Errno{syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, syscall.ETIMEDOUT, syscall.EHOSTUNREACH, syscall.ENETUNREACH} {
		if errors.Is(err, number) {
			return true
		}
	}
	// The git library turns some errors into texts.
	for _, text := range []string{"connection reset", "connection refused", "unexpected EOF", "broken pipe", "i/o timeout", "handshake failed: EOF"} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}

func with(loggedIn bool) string {
	if loggedIn {
		return " with these credentials"
	}
	return " without credentials"
}
