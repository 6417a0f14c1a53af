package orchestrator

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
		health       health
	}{
		{"task 107: Failed to acquire lock for lock:deployment:svc-slow uid: 82753171. Locking task id is 106, description: 'create deployment' (100)", "lock", justWait, nothing},
		{"Failed to reserve IP for 'standalone/a2b0bf0f-c146-41e1-89c5-6321a73f8379 (310)' for manual network 'default': no more available (130011)", "ips_exhausted", neverRetry, ill},
		{"Timed out pinging VM '7331' with agent 'd897e1c3-b07c-4a71-bbcb-ad841baf61ec' after 15 seconds (450002)", "timeout", tryAgain, ill},
		{"Timed out sending 'get_state' to instance: 'etcd', agent-id: 'x' after 45 seconds (450002)", "timeout", tryAgain, ill},
		{"Stemcell version '1.506' for OS 'no-such-os' doesn't exist (50003)", "stemcell_missing", neverRetry, nothing},
		{"Release version 'tiny-service/9.9.9' doesn't exist (30006)", "release_missing", neverRetry, nothing},
		{"Job 'standalone' (instance group 'standalone') references an unknown release 'tiny-service' (140002)", "release_missing", neverRetry, nothing},
		{"Job 'nope' not found in release 'tiny-service' (140029)", "release_missing", neverRetry, nothing},
		{"Instance group 'standalone' references an unknown vm type 'no-such-type' (140004)", "cloud_config", neverRetry, nothing},
		{"Instance group 'standalone' references an unknown disk type 'nope' (140012)", "cloud_config", neverRetry, nothing},
		{"Instance group 'standalone' references an unknown network 'nope' (150001)", "cloud_config", neverRetry, nothing},
		{"Action Failed get_task: Task ebc763f7 result: 1 of 1 pre-start scripts failed. Failed Jobs: standalone. (450001)", "job_failed", tryAgain, well},
		{"'etcd/5c7b (0)' is not running after update. Review logs for failed jobs: etcd (400007)", "job_failed", tryAgain, well},
		{"Unable to render instance groups for deployment. Errors are: Failed to fetch variable '/no/such/variable' from config server: Director is not configured (100)", "config_server", neverRetry, nothing},
		{"Required property 'update' was not specified in object ({...}) (40001)", "manifest", neverRetry, nothing},
		{"Task 110 cancelled (10001)", "cancelled", tryAgain, nothing},
		{"CPI error 'Bosh::Clouds::VMCreationFailed' with message 'VM failed to create: InsufficientInstanceCapacity:\n We currently do not have sufficient m5.large capacity' in 'create_vm' CPI method", "no_capacity", tryAgain, ill},
		{"CPI error 'Bosh::Clouds::CloudError' with message 'No valid host was found. There are not enough hosts available.'", "no_capacity", tryAgain, ill},
		{"Unknown CPI error 'Unknown' with message 'Quota exceeded for cores: Requested 4' in 'create_vm' CPI method", "quota", neverRetry, ill},
		{"CPI error 'Bosh::Clouds::CloudError' with message 'VcpuLimitExceeded: You have requested more vCPU capacity than your current limit'", "quota", neverRetry, ill},
		{"CPI error 'Bosh::Clouds::CloudError' with message 'boom' in 'create_vm' CPI method", "iaas", tryAgain, ill},
		{"the director does not answer: listing tasks: EOF", "director_away", tryAgain, ill},
		{"undefined method `x' for nil:NilClass (100)", "unknown", tryAgain, nothing},
	} {
		v := classify(c.words)
		if v.class != c.class || v.retry != c.retry || v.health != c.health {
			t.Errorf("%s\nis %s (%d, %d), want %s (%d, %d)", c.words, v.class, v.retry, v.health, c.class, c.retry, c.health)
		}
		if v.message == "" || v.advice == "" || strings.HasSuffix(v.message, ".") {
			t.Errorf("%s: %q, %q", v.class, v.message, v.advice)
		}
	}
}

func TestSecretsAreHiddenInWhatADirectorSays(t *testing.T) {
	i := &serviceforge.Instance{
		Secrets:    serviceforge.NewSecret(`{"password": "canary-1", "ca": {"key": "-----BEGIN\ncanary-2"}, "n": 3}`),
		Parameters: serviceforge.NewSecret(`{"list": ["canary-3"], "prefix": "/x"}`),
	}
	told := hide(i, `object ({"password"=>"canary-1", "key"=>"-----BEGIN\ncanary-2", "list"=>["canary-3"], "prefix"=>"/x"})`)
	if strings.Contains(told, "canary") || !strings.Contains(told, `"prefix"=>"/x"`) {
		t.Error(told)
	}
}
