package broker

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/pivotal-cf/brokerapi/v10/domain"

	"github.com/serviceforge/serviceforge"
)

// What a form body of 2014 leaves out. OSB demands both, so that every
// instance made with a form belongs to organization and space "default".
const (
	defaultOrganization = "default"
	defaultSpace        = "default"
)

// maxMemory of a form: all of it, since the body is bounded before.
const maxMemory = 1 << 20

const (
	jsonType      = "application/json"
	multipartType = "multipart/form-data"
	urlType       = "application/x-www-form-urlencoded"
)

func mediaType(r *http.Request) string {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return r.Header.Get("Content-Type")
	}
	return media
}

func isForm(r *http.Request) bool {
	media := mediaType(r)
	return media == multipartType || media == urlType
}

// prepareBody replaces the body by one that brokerapi decodes without
// objection: forms become JSON, anything else that is no JSON object of the
// verb's form is refused (400; brokerapi would say 422, OSB "Content Type").
func (b *Broker) prepareBody(c *call, r *http.Request) error {
	content, err := b.readBody(c, r)
	if err != nil {
		return err
	}
	switch media := mediaType(r); {
	case media == "" || media == jsonType || strings.HasPrefix(media, "application/") && strings.HasSuffix(media, "+json"):
	case media == urlType && bytes.HasPrefix(bytes.TrimSpace(content), []byte("{")): // curl -d without -H
	case isForm(r):
		c.form, c.async = true, true
		r.Body = io.NopCloser(bytes.NewReader(content))
		if content, err = formToJSON(r); err != nil {
			return err
		}
	default:
		return serviceforge.Errorf(serviceforge.Invalid, "Content-Type %.100q is not supported; send application/json", media)
	}
	details := detailsFor(r)
	if content, err = checkJSON(content, details); err != nil {
		return err
	}
	if order, is := details.(*domain.ProvisionDetails); is && order.ServiceID != "" && order.PlanID != "" {
		if err := b.checkOrder(order.ServiceID, order.PlanID); err != nil {
			return err
		}
	}
	if bind, is := details.(*bindDetails); is && bind.Predecessor != nil {
		if c.predecessor, content, err = rotation(bind, content); err != nil {
			return err
		}
	}
	r.Body = io.NopCloser(bytes.NewReader(content))
	r.ContentLength = int64(len(content))
	r.Header.Set("Content-Type", jsonType)
	r.Form, r.PostForm, r.MultipartForm = nil, nil, nil
	return nil
}

func (b *Broker) readBody(c *call, r *http.Request) ([]byte, error) {
	content, err := io.ReadAll(http.MaxBytesReader(c.answer, r.Body, b.maxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, serviceforge.Errorf(serviceforge.TooLarge, "the request body is larger than %d KiB", b.maxBody>>10)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, serviceforge.Wrap(err, serviceforge.TimedOut, "the request body did not arrive in time")
	}
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Invalid, "the request body ended too early")
	}
	return content, nil
}

// detailsFor returns what brokerapi will decode the body into.
func detailsFor(r *http.Request) any {
	switch {
	case r.Method == http.MethodPatch:
		return &domain.UpdateDetails{}
	case strings.Contains(r.URL.RawPath, "/service_bindings/"):
		return &bindDetails{}
	}
	return &domain.ProvisionDetails{}
}

// bindDetails is brokerapi's with what it does not know.
type bindDetails struct {
	domain.BindDetails
	Predecessor *string `json:"predecessor_binding_id"`
}

// rotation makes a body that brokerapi takes of one that need not name offering
// and plan (OSB "Rotating a Service Binding: Body").
func rotation(d *bindDetails, content []byte) (predecessor string, prepared []byte, err error) {
	if *d.Predecessor == "" {
		return "", nil, serviceforge.Errorf(serviceforge.Invalid, "predecessor_binding_id is empty")
	}
	var object map[string]json.RawMessage // numbers stay as they are
	if err := json.Unmarshal(content, &object); err != nil {
		return "", nil, unfit(err)
	}
	for name, value := range map[string]string{"service_id": d.ServiceID, "plan_id": d.PlanID} {
		if value == "" {
			object[name] = json.RawMessage(`"\u0000"`) // notGiven
		}
	}
	prepared, err = json.Marshal(object)
	if err != nil {
		return "", nil, unfit(err)
	}
	return *d.Predecessor, prepared, nil
}

// checkJSON wants one JSON object that fits into details, whose parameters and
// context are objects, if there are any, and returns it as exact makes it.
// Unknown fields pass (OSB "Vendor Extension Fields"). Its errors quote no
// values: those may be secret.
func checkJSON(content []byte, details any) ([]byte, error) {
	if len(bytes.TrimSpace(content)) == 0 {
		return nil, serviceforge.Errorf(serviceforge.Invalid, "the request has no body; a JSON object is needed")
	}
	if !utf8.Valid(content) {
		return nil, serviceforge.Errorf(serviceforge.Invalid, "the request body is not valid UTF-8")
	}
	content, err := exact(content)
	if err != nil {
		return nil, err
	}
	var objects struct {
		Context    map[string]json.RawMessage `json:"context"`
		Parameters map[string]json.RawMessage `json:"parameters"`
	}
	for _, into := range []any{&objects, details} {
		if err := json.Unmarshal(content, into); err != nil {
			return nil, unfit(err)
		}
	}
	if bytes.TrimSpace(content)[0] != '{' { // "null" fits into anything
		return nil, serviceforge.Errorf(serviceforge.Invalid, "the request body is not a JSON object")
	}
	return content, nil
}

// unfit says what is wrong with a body, without its values.
func unfit(err error) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		return serviceforge.Wrap(err, serviceforge.Invalid, "%q in the request body has the wrong type: JSON %s",
			strings.TrimPrefix(wrong.Field, "BindDetails."), kindOf(wrong.Value)) // bindDetails' own
	}
	if wrong, ok := errors.AsType[*json.SyntaxError](err); ok {
		return serviceforge.Wrap(err, serviceforge.Invalid, "the request body is not JSON: wrong at byte %d", wrong.Offset)
	}
	return serviceforge.Wrap(err, serviceforge.Invalid, "the request body is not a JSON object")
}

// kindOf cuts the value off, which encoding/json adds to "number".
func kindOf(value string) string {
	kind, _, _ := strings.Cut(value, " ")
	return kind
}

// formFields reads the fields of a form body; files are ignored.
func (b *Broker) formFields(c *call, r *http.Request) (url.Values, error) {
	content, err := b.readBody(c, r)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(content))
	return parseForm(r)
}

// parseForm parses the whole body, whatever the method.
func parseForm(r *http.Request) (url.Values, error) {
	if mediaType(r) == urlType {
		content, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, serviceforge.Wrap(err, serviceforge.Invalid, "the form in the request body is not readable")
		}
		fields, err := url.ParseQuery(string(content))
		if err != nil {
			return nil, serviceforge.Wrap(err, serviceforge.Invalid, "the form in the request body is not correctly encoded")
		}
		return fields, nil
	}
	reader, err := r.MultipartReader()
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Invalid, "the multipart form in the request body is not readable")
	}
	form, err := reader.ReadForm(maxMemory)
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Invalid, "the multipart form in the request body is not readable")
	}
	defer func() { _ = form.RemoveAll() }()
	return url.Values(form.Value), nil
}

// formToJSON writes the known fields of a form as the JSON body OSB wants.
func formToJSON(r *http.Request) ([]byte, error) {
	fields, err := parseForm(r)
	if err != nil {
		return nil, err
	}
	object := map[string]any{
		"organization_guid": defaultOrganization,
		"space_guid":        defaultSpace,
	}
	for _, name := range []string{"service_id", "plan_id", "organization_guid", "space_guid", "app_guid"} {
		if value := fields.Get(name); value != "" {
			object[name] = value
		}
	}
	for _, name := range []string{"parameters", "context", "bind_resource"} {
		value := strings.TrimSpace(fields.Get(name))
		if value == "" {
			continue
		}
		if !json.Valid([]byte(value)) {
			return nil, serviceforge.Errorf(serviceforge.Invalid, "the form field %s is not JSON", name)
		}
		object[name] = json.RawMessage(value)
	}
	content, err := json.Marshal(object)
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Invalid, "the form in the request body is not readable")
	}
	return content, nil
}
