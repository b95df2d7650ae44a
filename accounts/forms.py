"""Forms of the back office."""

from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm

from accounts.adapters import count


class SecondFactorForm(AuthenticateForm):  # type: ignore[misc]  # allauth has no types
    """The code at sign-in. Six digits can be guessed: attempts are counted."""

    def clean_code(self) -> str:
        count("second_factor", f"staff:{self.user.pk}")
        return str(super().clean_code())


class SecondFactorAgainForm(ReauthenticateForm):  # type: ignore[misc]  # allauth has no types
    """The code before something sensitive."""

    def clean_code(self) -> str:
        count("second_factor", f"staff:{self.user.pk}")
        return str(super().clean_code())
