package remote

import (
	"context"
	"net"
	"net/http"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport/client"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
)

// silence is how long a server may say nothing in the middle: servers say something every few seconds even while they
// only count.
const silence = 5 * time.Minute

// Install makes the git library use these ways to servers and no others: neither local repositories nor git://, which
// a submodule could name, and no configuration of ssh that happens to be in the image.
func Install() {
	for _, protocol := range []string{"file", "git"} {
		client.InstallProtocol(protocol, nil)
	}
	gitssh.DefaultSSHConfig = nil
	dialer := &net.Dialer{Timeout: connectTime}
	overHTTP := githttp.NewClient(&http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			connection, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return impatient{connection}, nil
		},
		TLSHandshakeTimeout: connectTime,
		ForceAttemptHTTP2:   true,
	}})
	client.InstallProtocol("https", overHTTP)
	client.InstallProtocol("http", overHTTP)
}

// impatient is a connection on which nothing may take longer than silence.
type impatient struct{ net.Conn }

// Read reads.
func (c impatient) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(silence)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}
