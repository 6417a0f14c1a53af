package releases

import (
	"bytes"
	"encoding/json"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/users"
)

// accessUsers is the users section of service.yml, as it is rendered and stored.
type accessUsers struct {
	Driver    string   `json:"driver" yaml:"driver"`
	Endpoints []string `json:"endpoints" yaml:"endpoints"`
	Admin     struct {
		Username string `json:"username" yaml:"username"`
		Password string `json:"password" yaml:"password"`
		CA       string `json:"ca" yaml:"ca"`
	} `json:"admin" yaml:"admin"`
	ServerName string     `json:"server_name" yaml:"server_name"`
	Database   string     `json:"database,omitempty" yaml:"database"`
	HTTP       users.HTTP `json:"http,omitzero" yaml:"http"`
	Grant      []string   `json:"grant,omitempty" yaml:"grant"`
}

func usersOf(tree any) (*accessUsers, error) {
	text, err := json.Marshal(tree)
	if err != nil {
		return nil, serviceforge.Wrap(err, serviceforge.Internal, "users cannot be written")
	}
	var u accessUsers
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&u); err != nil {
		return nil, serviceforge.Errorf(serviceforge.Internal, "users holds an unknown key, or one of the wrong type")
	}
	if u.Driver == "" || len(u.Endpoints) == 0 {
		return nil, serviceforge.Errorf(serviceforge.Internal, "users needs driver and endpoints")
	}
	return &u, u.service().Check()
}

func (u *accessUsers) service() users.Service {
	return users.Service{
		Driver: u.Driver, Endpoints: u.Endpoints, CA: u.Admin.CA, ServerName: u.ServerName, Database: u.Database, HTTP: u.HTTP, Grant: u.Grant,
		Admin: users.Admin{Username: u.Admin.Username, Password: serviceforge.NewSecret(u.Admin.Password)},
	}
}

// UsersOf returns where and how users are made; ok is false where the release
// has no users section.
func UsersOf(stored serviceforge.Secret) (s users.Service, ok bool, err error) {
	a, err := openAccess(stored)
	if err != nil || a.Users == nil {
		return users.Service{}, false, err
	}
	return a.Users.service(), true, nil
}
