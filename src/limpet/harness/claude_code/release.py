"""Which Claude Code: its version and what npm must find in it. The SDK is made for this one."""

from typing import Final

from limpet.harness.tools import NpmPackage, NpmProgram

_SCOPE: Final = "@anthropic-ai/claude-code"

CLAUDE_CODE: Final = NpmProgram(
    name="claude-code",
    title="Claude Code",
    version="2.1.332",
    file="claude",
    packages={
        platform: NpmPackage(f"{_SCOPE}-{platform}", f"sha512-{digest}==")
        for platform, digest in {
            "linux-x64": "f4JWhzwYutJIHScC7/dYOPX6s28tt7ZADhsOi8zwOHq5fFPEuUeChh2N"
            "MfinSg0GrUckYxaeebC4h0DqiKzLcw",
            "linux-arm64": "BlHNEtK38KBPWU31F4lUSS9sHclCyfWbThT1CErvxxH8+XcljYLZlQwd"
            "yXBkTD62rw1TgfE1u1a+quMWS0NSJg",
            "linux-x64-musl": "QoQzwipnqRAdBKDAJNJ2Qvl37G6x8nCugfOQa+nuMcGIRgGEOLeWoq3p"
            "TLMQRScL37estAQBGH9ygR3WFVbIfw",
            "linux-arm64-musl": "jdjkkJLfAQ9M1HbT05tZHQpGNZUEPUebYwW/xpiMypZddB0lNlHlB9mX"
            "fOVV/UUPO0JCghj1NSQjxhhJc4L4CA",
            "darwin-x64": "i0GV2ejBOeHMXs+XPCd1IaJj1GV3VdZl8hiQD6hLMR/N7f4Nt8q4Edj1"
            "GYJCKXPLJa/zsE9Uv6r9rZ/ldVFQPQ",
            "darwin-arm64": "L/F5mypyB7SK59cesiAqGv1bVNd+8xTn0LF5kV6EGL6UMhofVJMFlokh"
            "DRoxNzANNC5i/5JdzfJyDOKUbZObiA",
        }.items()
    },
)
