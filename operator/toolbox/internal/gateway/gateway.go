// Package gateway is the task's side of the gateway, which keeps archives, caches and results.
//
// What always holds: no more than three parts are in memory; what was read is what was stored, or it is an error, by
// the SHA-256 of every part; a request that failed for a while only is repeated, and the log says that somebody waits.
package gateway

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// Settings are the plan's.
type Settings struct {
	URL       string `json:"url"`
	CA        string `json:"ca"` // PEM, beside what the image trusts; may be empty
	TokenFile string `json:"tokenFile"`
	Socket    string `json:"socket"` // of Unix, through which the gateway is reached instead of the URL's host; may be empty
}

// Check says what is wrong with the settings.
func (s Settings) Check() error {
	address, err := url.Parse(s.URL)
	switch {
	case err != nil:
		return fmt.Errorf("url: %w", err)
	case address.Scheme != "https" && address.Scheme != "http" || address.Host == "":
		return fmt.Errorf("url is %q, which is no http or https address", s.URL)
	case s.TokenFile == "":
		return errors.New("tokenFile is missing")
	case s.CA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(s.CA)):
		return errors.New("ca has no certificate in PEM form")
	}
	return nil
}

const (
	// Patience is how long a request is repeated.
	Patience = 10 * time.Minute

	firstPause   = 500 * time.Millisecond
	longestPause = 15 * time.Second
	callTime     = time.Minute
	partTime     = 5 * time.Minute // for up to 64 MiB
)

// Client talks to the gateway for one attempt of one task. Several goroutines may use it.
type Client struct {
	base      *url.URL // of the attempt
	tokenFile string
	http      *http.Client
	state     waiting

	patience, firstPause, longestPause time.Duration
}

// New makes a client. Notice gets a line when requests begin to wait and when they go on; patience is how long one
// request is repeated, 0 for the usual time.
func New(settings Settings, run, task string, attempt int, patience time.Duration, notice func(string)) (*Client, error) {
	if err := settings.Check(); err != nil {
		return nil, fmt.Errorf("the plan's gateway.%w", err)
	}
	base, err := url.Parse(strings.TrimRight(settings.URL, "/") + "/task/v1/" +
		url.PathEscape(run) + "/" + url.PathEscape(task) + "/" + strconv.Itoa(attempt) + "/")
	if err != nil {
		return nil, err
	}
	trusted, err := x509.SystemCertPool()
	if err != nil {
		trusted = x509.NewCertPool() // an image without any
	}
	trusted.AppendCertsFromPEM([]byte(settings.CA))
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	transport := &http.Transport{
		// The gateway is in the cluster; the storage may be anywhere.
		Proxy: func(request *http.Request) (*url.URL, error) {
			if request.URL.Host == base.Host {
				return nil, nil //nolint:nilnil // what the interface asks for
			}
			return http.ProxyFromEnvironment(request)
		},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if settings.Socket != "" && address == hostAndPort(base) {
				return dialer.DialContext(ctx, "unix", settings.Socket)
			}
			return dialer.DialContext(ctx, network, address)
		},
		TLSClientConfig:       &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: callTime,
		IdleConnTimeout:       time.Minute,
		MaxIdleConnsPerHost:   inFlight,
		DisableCompression:    true, // what is stored is compressed, and its length matters
	}
	if patience == 0 {
		patience = Patience
	}
	return &Client{
		base: base, tokenFile: settings.TokenFile, http: &http.Client{Transport: transport},
		state: waiting{notice: notice}, patience: patience,
		firstPause: firstPause, longestPause: longestPause,
	}, nil
}

// hostAndPort is what is dialed for an address.
func hostAndPort(address *url.URL) string {
	port := address.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[address.Scheme]
	}
	return net.JoinHostPort(address.Hostname(), port)
}

// token is read again for each request: the kubelet renews it.
func (c *Client) token() (string, error) {
	data, err := os.ReadFile(c.tokenFile)
	if err != nil {
		return "", fmt.Errorf("the task's token cannot be read: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}
