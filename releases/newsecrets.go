package releases

import (
	"encoding/json"
	"slices"

	"github.com/serviceforge/serviceforge"
	"github.com/serviceforge/serviceforge/releases/secrets"
	"github.com/serviceforge/serviceforge/releases/trees"
)

// NewSecrets makes the passwords and certificates that an instance lacks, for
// Instance.Secrets: a JSON object. Those it has stay: a new one lacks all, one
// that is upgraded what the newer release has added. Prepared users that are
// spent are replaced. Every call makes others.
func (r *Release) NewSecrets(in Input) (serviceforge.Secret, error) {
	s, p, err := r.find(in)
	if err != nil {
		return serviceforge.Secret{}, err
	}
	out, err := trees.Object([]byte(in.Instance.Secrets.Reveal()))
	if err != nil {
		return serviceforge.Secret{}, serviceforge.Errorf(serviceforge.Internal, "the secrets of the instance cannot be read")
	}
	lacking := slices.DeleteFunc(slices.Clone(s.secretRank), func(name string) bool { return out[name] != nil })
	if len(lacking) == 0 && !in.Instance.Secrets.Empty() && s.prepared == 0 && out[preparedKey] == nil {
		return in.Instance.Secrets, nil
	}
	in.Instance.Secrets = serviceforge.Secret{}
	sf, err := s.values(p, in)
	if err != nil {
		return serviceforge.Secret{}, err
	}
	for _, name := range lacking {
		if out[name], err = secrets.Make(s.secrets, name, sf, out); err != nil {
			return serviceforge.Secret{}, serviceforge.Wrap(err, serviceforge.Internal, "the secret %s cannot be made", name)
		}
	}
	if err := s.withPrepared(out, in.Spent); err != nil {
		return serviceforge.Secret{}, err
	}
	text, err := json.Marshal(out)
	if err != nil {
		return serviceforge.Secret{}, serviceforge.Wrap(err, serviceforge.Internal, "the secrets cannot be written")
	}
	return serviceforge.NewSecret(string(text)), nil
}
