package broker

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/serviceforge/serviceforge"
)

const (
	requestIdentityHeader     = "X-Broker-API-Request-Identity"
	originatingIdentityHeader = "X-Broker-API-Originating-Identity"
	apiVersionHeader          = "X-Broker-API-Version"
)

// maxIdentity bounds the originating identity that we keep, in bytes.
const maxIdentity = 8 << 10

// call is what the edge knows of a request and a verb needs: brokerapi has no
// room for it in its arguments.
type call struct {
	requestID string
	caller    serviceforge.Caller
	minor     int  // of the API version 2.x that the platform speaks
	form      bool // a form body: the compatibility mode of 2014
	async     bool // an instance's operation may be answered 202 without accepts_incomplete
	// predecessor is predecessor_binding_id of a bind's body; brokerapi does not know it.
	predecessor string
	answer      *recorder
}

type callKey struct{}

// callOf returns the request's call; the edge has put it there.
func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	if c == nil {
		c = &call{}
	}
	return c
}

// requestID returns the platform's id of the request (OSB "Request Identity"),
// a proxy's, or a new one.
func requestID(r *http.Request) string {
	for _, name := range []string{requestIdentityHeader, "X-Vcap-Request-Id", "X-Request-Id", "X-Correlation-Id"} {
		if id := r.Header.Get(name); id != "" {
			return id[:min(len(id), serviceforge.MaxIDLength)]
		}
	}
	return rand.Text()
}

// identityOf returns X-Broker-API-Originating-Identity as sent, or "" where it
// is not "<platform> <base64 of a JSON object>" (OSB "Originating Identity").
// It is untrusted in any case: kept for the history, never believed.
func identityOf(r *http.Request) string {
	value := r.Header.Get(originatingIdentityHeader)
	platform, encoded, found := strings.Cut(value, " ")
	if !found || platform == "" || len(value) > maxIdentity {
		return ""
	}
	decoded, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return ""
	}
	var object map[string]json.RawMessage
	if json.Unmarshal(decoded, &object) != nil || object == nil {
		return ""
	}
	return value
}

// pathID unescapes an id taken from the path exactly once and checks it (OSB
// "URL Properties"): "a%2Fb" is the id "a/b", "a%252Fb" is "a%2Fb".
func pathID(what, escaped string) (string, error) {
	id, err := url.PathUnescape(escaped)
	if err != nil {
		return "", serviceforge.Wrap(err, serviceforge.Invalid, "%s is not correctly percent-encoded", what)
	}
	return id, serviceforge.CheckID(what, id)
}

// pathIDs is pathID for an instance and a binding of it.
func pathIDs(instance, binding string) (instanceID, bindingID string, err error) {
	if instanceID, err = pathID("the service instance id", instance); err != nil {
		return "", "", err
	}
	bindingID, err = pathID("the service binding id", binding)
	return instanceID, bindingID, err
}
