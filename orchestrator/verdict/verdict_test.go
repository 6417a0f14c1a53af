package verdict

import (
	"strings"
	"testing"

	"github.com/serviceforge/serviceforge"
)

// The words are those of a director 283.1.0 (recorded) and of the CPIs' own
// error messages.
func TestWhatADirectorSaysIsUnderstood(t *testing.T) {
	for _, c := range []struct {
		words, class string
		retry        retry
		health       Health
	}{
		{"task 107: Failed to acquire lock for lock:deployment:svc-slow uid: 82753171. Locking task id is 106, description: 'create deployment' (100)", "lock", JustWait, Nothing},
		{"Failed to reserve IP for 'standalone/a2b0bf0f-c146-41e1-89c5-6321a73f8379 (310)' for manual network 'default': no more available (130011)", "ips_exhausted", NeverRetry, Ill},
		{"Timed out pinging VM '7331' with agent 'd897e1c3-b07c-4a71-bbcb-ad841baf61ec' after 15 seconds (450002)", "timeout", tryAgain, Ill},
		{"Timed out sending 'get_state' to instance: 'etcd', agent-id: 'x' after 45 seconds (450002)", "timeout", tryAgain, Ill},
		{"Stemcell version '1.506' for OS 'no-such-os' doesn't exist (50003)", "stemcell_missing", NeverRetry, Nothing},
		{"Release version 'tiny-service/9.9.9' doesn't exist (30006)", "release_missing", NeverRetry, Nothing},
		{"Job 'standalone' (instance group 'standalone') references an unknown release 'tiny-service' (140002)", "release_missing", NeverRetry, Nothing},
		{"Job 'nope' not found in release 'tiny-service' (140029)", "release_missing", NeverRetry, Nothing},
		{"Instance group 'standalone' references an unknown vm type 'no-such-type' (140004)", "cloud_config", NeverRetry, Nothing},
		{"Instance group 'standalone' references an unknown disk type 'nope' (140012)", "cloud_config", NeverRetry, Nothing},
		{"Instance group 'standalone' references an unknown network 'nope' (150001)", "cloud_config", NeverRetry, Nothing},
		{"Action Failed get_task: Task ebc763f7 result: 1 of 1 pre-start scripts failed. Failed Jobs: standalone. (450001)", "job_failed", tryAgain, Well},
		{"'etcd/5c7b (0)' is not running after update. Review logs for failed jobs: etcd (400007)", "job_failed", tryAgain, Well},
		{"Unable to render instance groups for deployment. Errors are: Failed to fetch variable '/no/such/variable' from config server: Director is not configured (100)", "config_server", NeverRetry, Nothing},
		{"Required property 'update' was not specified in object ({...}) (40001)", "manifest", NeverRetry, Nothing},
		{"Task 110 cancelled (10001)", "cancelled", tryAgain, Nothing},
		{"CPI error 'Bosh::Clouds::VMCreationFailed' with message 'VM failed to create: InsufficientInstanceCapacity:\n We currently do not have sufficient m5.large capacity' in 'create_vm' CPI method", "no_capacity", tryAgain, Ill},
		{"CPI error 'Bosh::Clouds::CloudError' with message 'No valid host was found. There are not enough hosts available.'", "no_capacity", tryAgain, Ill},
		{"Unknown CPI error 'Unknown' with message 'Quota exceeded for cores: Requested 4' in 'create_vm' CPI method", "quota", NeverRetry, Ill},
		{"CPI error 'Bosh::Clouds::CloudError' with message 'VcpuLimitExceeded: You have requested more vCPU capacity than your current limit'", "quota", NeverRetry, Ill},
		{"CPI error 'Bosh::Clouds::CloudError' with message 'boom' in 'create_vm' CPI method", "iaas", tryAgain, Ill},
		{"the director does not answer: listing tasks: EOF", "director_away", tryAgain, Ill},
		{"undefined method `x' for nil:NilClass (100)", "unknown", tryAgain, Nothing},
	} {
		v := Of(c.words)
		if v.Class != c.class || v.Retry != c.retry || v.Health != c.health {
			t.Errorf("%s\nis %s (%d, %d), want %s (%d, %d)", c.words, v.Class, v.Retry, v.Health, c.class, c.retry, c.health)
		}
		if v.Message == "" || v.Advice == "" || strings.HasSuffix(v.Message, ".") {
			t.Errorf("%s: %q, %q", v.Class, v.Message, v.Advice)
		}
	}
}

func TestSecretsAreHiddenInWhatADirectorSays(t *testing.T) {
	i := &serviceforge.Instance{
		Secrets:    serviceforge.NewSecret(`{"password": "canary-1", "ca": {"key": "-----BEGIN\ncanary-2"}, "n": 3}`),
		Parameters: serviceforge.NewSecret(`{"list": ["canary-3"], "prefix": "/x"}`),
	}
	told := Redact(i, `object ({"password"=>"canary-1", "key"=>"-----BEGIN\ncanary-2", "list"=>["canary-3"], "prefix"=>"/x"})`)
	if strings.Contains(told, "canary") || !strings.Contains(told, `"prefix"=>"/x"`) {
		t.Error(told)
	}
}
