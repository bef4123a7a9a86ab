"""Which proxy a request uses. Rule: one from the environment only where settings ask for it."""

from functools import lru_cache
from urllib.request import getproxies_environment, proxy_bypass

from smsd.config import ConfigError
from smsd.config.settings import ENVIRONMENT
from smsd.core import proxy
from smsd.core.proxy import Proxy
from smsd.provider.base import ProxyFor, direct


def proxy_for(written: str) -> ProxyFor:
    """The proxy for each address, from the value of `[provider] proxy`. Raises `ConfigError`."""
    if not written:
        return direct
    if written == ENVIRONMENT:
        return _of_environment()
    one = proxy.parse(written)
    return lambda _scheme, _host: one


def _of_environment() -> ProxyFor:
    """The proxies of $HTTPS_PROXY, $HTTP_PROXY and $NO_PROXY."""
    variables = getproxies_environment()
    proxies, faults = dict[str, Proxy](), []
    for scheme in proxy.SCHEMES:
        if url := variables.get(scheme):
            try:
                proxies[scheme] = proxy.parse(url if "://" in url else f"http://{url}")
            except ValueError as error:
                faults.append(f"${scheme.upper()}_PROXY: {error}")
    if faults:
        raise ConfigError(faults)

    @lru_cache(maxsize=64)
    def chosen(scheme: str, host: str) -> Proxy | None:
        return None if proxy_bypass(host) else proxies.get(scheme)

    return chosen
