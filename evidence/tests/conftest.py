"""Settings of the study's tests."""

import hypothesis

hypothesis.settings.register_profile("evidence", deadline=None)  # machines are shared
hypothesis.settings.load_profile("evidence")
