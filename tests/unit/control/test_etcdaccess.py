"""Settings of etcd: what is made of them, and the sentence for each way in which they cannot be meant."""

from pathlib import Path

import pytest

from runabout.control.etcdaccess import EtcdSettingsError, connect_etcd, space_policy
from runabout.control.settings import Settings
from runabout.etcd import DEFAULT_QUOTA, Login, PermanentEtcdError


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"etcd_endpoints": "etcd.example.org:2379"}, r"RUNABOUT_ETCD_ENDPOINTS: 'etcd.example.org:2379' is no etcd"),
        ({"etcd_endpoints": ""}, "RUNABOUT_ETCD_ENDPOINTS: '' is no etcd endpoint: write it as"),
        ({"etcd_ca_file": "/none"}, "RUNABOUT_ETCD_CA_FILE: .*No such file or directory: '/none'"),
        ({"etcd_cert_file": "{here}", "etcd_key_file": "{here}"}, "RUNABOUT_ETCD_CA_FILE: needed"),
        ({"etcd_ca_file": "{here}", "etcd_cert_file": "{here}"}, "RUNABOUT_ETCD_KEY_FILE: set both or none"),
        ({"etcd_user": "ci"}, "RUNABOUT_ETCD_USER and RUNABOUT_ETCD_PASSWORD_FILE: set both or none"),
        ({"etcd_password_file": "{here}"}, "RUNABOUT_ETCD_USER and RUNABOUT_ETCD_PASSWORD_FILE: set both or none"),
        ({"etcd_user": "ci", "etcd_password_file": "/none"}, "RUNABOUT_ETCD_PASSWORD_FILE: .*'/none'"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence_that_names_the_variable(
    tmp_path: Path, settings: dict[str, str], words: str
) -> None:
    here = tmp_path / "file"
    here.write_text("x")
    given = {name: value.replace("{here}", str(here)) for name, value in settings.items()}
    with pytest.raises(EtcdSettingsError, match=words) as raised:
        connect_etcd(Settings(**given))  # type: ignore[arg-type]  # read as from the environment
    assert "\n" not in str(raised.value)


async def test_the_password_comes_from_its_file_at_each_login_and_is_never_shown(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("first\n")
    client = connect_etcd(Settings(etcd_user="ci", etcd_password_file=file))
    login = client._connection._login
    assert login is not None
    assert (login.user, login.secret()) == ("ci", "first")
    file.write_text("second")
    assert login.secret() == "second"
    file.unlink()
    with pytest.raises(PermanentEtcdError, match=r"the file with etcd's password, .*/password: .*No such file"):
        login.secret()
    assert "open sesame" not in repr(Login("ci", "open sesame"))
    await client.close()


def test_the_quota_is_etcds_default_unless_the_settings_say_another() -> None:
    assert space_policy(Settings()).quota == DEFAULT_QUOTA
    assert space_policy(Settings(etcd_quota_bytes=8 * 1024**3)).quota == 8 * 1024**3
