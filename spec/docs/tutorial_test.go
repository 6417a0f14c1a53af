package docs_test

import (
	"fmt"
	"strings"
	"testing"
)

// hasNot wants all words but the first.
func hasNot(never string, words ...string) func(string) error {
	return func(output string) error {
		if strings.Contains(output, never) {
			return fmt.Errorf("it says %q", never)
		}
		return has(words...)(output)
	}
}

// TestEveryCommandOfTheTutorial is an author who types all of docs/tutorial.md.
func TestEveryCommandOfTheTutorial(t *testing.T) {
	typed(t, "docs/tutorial.md", []promise{
		{"serviceforge generate service kv", has("wrote", "files to kv")},
		{"find kv", has("kv/service.yml", "kv/test/keys", "kv/bosh/src/kv/server")},
		{"serviceforge validate kv", has("is valid: 2 plans, 0 warnings")},
		{"serviceforge render kv", has(`"greeting": "good day"`, `"password": "[redacted]"`)},
		{"serviceforge test kv", has("install", "create", "bind", "1 of test/ passed", "to medium", "delete", "kv/1.0.0 is fine: 1 of 2 plans tested")},
		{"serviceforge package kv", has("wrote serviceforge-kv-1.")},
		{"serviceforge install serviceforge-kv-1.0.0.tgz", has("kv/1.0.0")},
		{"serviceforge install serviceforge-kv-1.1.0.tgz", has("kv/1.1.0")},
		{"serviceforge catalog", has("kv-dedicated", "medium", "etcd-dedicated")},
		{"curl -u cc:secret http://localhost:5000/v2/catalog", hasNot("kv-dedicated", "etcd-dedicated")},
		{"serviceforge releases", has("kv", "1.0.0")},
		{"serviceforge create-service kv-dedicated", has("my-kv runs: kv-dedicated small")},
		{"serviceforge bind my-kv my-app", has(`"uri": "http://kv:`)},
		{`curl "$uri/"`, has("good day")},
		{`curl "$uri/keys/answer"`, has("forty-two")},
		{`curl "$uri/keys/question"`, hasNot("there is no such key", "no such key")},
		{`curl "$uri/keys/why"`, has("there is no such key")},
		{"serviceforge diff", has("kv-dedicated/small:/instance_groups/kv/jobs/kv/properties/max_value")},
		{"serviceforge upgrade my-kv", has("my-kv")},
		{"serviceforge delete-service -f my-kv", has("my-kv is deleted")},
		{"serviceforge uninstall kv", has("kv")},
	}, nil)
}
