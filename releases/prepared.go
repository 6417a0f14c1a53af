package releases

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"gopkg.in/yaml.v3"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases/secrets"
	"github.com/serviceforge/serviceforge/releases/trees"
	"github.com/serviceforge/serviceforge/releases/yamldoc"
	"github.com/serviceforge/serviceforge/users"
)

// preparedKey holds the prepared users among an instance's secrets; no secret of
// a service release can be called so.
const preparedKey = "(users)"

// maxPrepared bounds users.prepared: all of them are in every manifest.
const maxPrepared = 1000

// preparedUser is one of the users that a deployment is made with.
type preparedUser struct {
	Name     string `json:"name"`
	Password string `json:"password"`
}

// loadPrepared reads users.prepared, which stands alone.
func (s *service) loadPrepared(f *fileService) error {
	if !f.Users.has("prepared") {
		return nil
	}
	n, err := strconv.Atoi(yamldoc.Scalar(f.Users.node, "prepared"))
	switch {
	case err != nil || n < 1 || n > maxPrepared:
		return invalid("users: prepared must be a number from 1 to %d", maxPrepared)
	case len(f.Users.node.Content) > 2:
		return invalid("users: prepared stands alone: nobody makes users then, so that there is no driver")
	}
	s.prepared = n
	return nil
}

// withPrepared makes the prepared users that an instance lacks: those that are
// spent go away, the others stay.
func (s *service) withPrepared(secrets map[string]any, spent []string) error {
	there, err := preparedIn(secrets)
	if delete(secrets, preparedKey); err != nil || s.prepared == 0 {
		return err
	}
	there = slices.DeleteFunc(there, func(u preparedUser) bool { return slices.Contains(spent, u.Name) })
	for len(there) < s.prepared {
		u := users.NewUser()
		there = append(there, preparedUser{u.Name, u.Password.Reveal()})
	}
	secrets[preparedKey] = there
	return nil
}

// preparedIn reads the prepared users of an instance's secrets.
func preparedIn(secrets map[string]any) (all []preparedUser, err error) {
	if secrets[preparedKey] == nil {
		return nil, nil
	}
	text, err := json.Marshal(secrets[preparedKey])
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		return nil, serviceforge.Errorf(serviceforge.Internal, "the prepared users of the instance cannot be read")
	}
	return all, nil
}

// userValues is sf.users: what a template gives to its jobs. Spiff would merge
// the entries of a list by a key called name.
func userValues(all []preparedUser) []any {
	out := make([]any, len(all))
	for i, u := range all {
		out[i] = map[string]any{"username": u.Name, "password": u.Password}
	}
	return out
}

// WithPrepared returns the access data of an instance that was deployed with
// these secrets: their prepared users exist now. Errors: Internal.
func WithPrepared(stored, secrets serviceforge.Secret) (serviceforge.Secret, error) {
	object, err := trees.Object([]byte(secrets.Reveal()))
	if err != nil {
		return stored, serviceforge.Errorf(serviceforge.Internal, "the secrets of the instance cannot be read")
	}
	all, err := preparedIn(object)
	if err != nil || len(all) == 0 {
		return stored, err
	}
	return prepare(stored, all)
}

func prepare(stored serviceforge.Secret, all []preparedUser) (serviceforge.Secret, error) {
	a, err := openAccess(stored)
	if err != nil {
		return stored, err
	}
	a.Prepared = all
	text, err := json.Marshal(a)
	if err != nil {
		return stored, serviceforge.Wrap(err, serviceforge.Internal, "the access data cannot be written")
	}
	return serviceforge.NewSecret(string(text)), nil
}

// keepPrepared gives access data that was rendered anew the users that the
// instance was last deployed with.
func keepPrepared(made, before serviceforge.Secret) (serviceforge.Secret, error) {
	if before.Empty() {
		return made, nil
	}
	a, err := openAccess(before)
	if err != nil || len(a.Prepared) == 0 {
		return made, err
	}
	return prepare(made, a.Prepared)
}

// Prepared lists the users that exist in an instance for bindings to be given;
// ok is false where bindings get none of those, or nothing stands yet. Errors: Internal.
func Prepared(stored serviceforge.Secret) (all []users.User, ok bool, err error) {
	if stored.Empty() {
		return nil, false, nil
	}
	a, err := openAccess(stored)
	if err != nil {
		return nil, false, err
	}
	for _, u := range a.Prepared {
		all = append(all, users.User{Name: u.Name, Password: serviceforge.NewSecret(u.Password)})
	}
	return all, len(all) > 0, nil
}

// offlineSecrets are the secrets of what is rendered offline: a prepared user is
// one of type user there.
func (s *service) offlineSecrets() map[string]secrets.Spec {
	all := maps.Clone(s.secrets)
	if all == nil {
		all = map[string]secrets.Spec{}
	}
	for name := range s.directorSecrets() {
		delete(all, name) // they are no marks, and declared anyway
	}
	for i := range s.prepared {
		all[offlineUser(i)] = secrets.Spec{Type: "user"}
	}
	return all
}

func offlineUser(n int) string { return fmt.Sprintf("prepared_user_%d", n+1) }

// markedUsers are the marks of the prepared users.
func (s *service) markedUsers() []preparedUser {
	out := make([]preparedUser, s.prepared)
	for i := range out {
		mark := secretMark + offlineUser(i)
		out[i] = preparedUser{mark + ".username.", mark + ".password."}
	}
	return out
}

// usersNode is what is rendered of users: nothing where they are prepared.
func (s *service) usersNode(f *fileService) *yaml.Node {
	if s.prepared > 0 {
		return nil
	}
	return f.Users.node
}
