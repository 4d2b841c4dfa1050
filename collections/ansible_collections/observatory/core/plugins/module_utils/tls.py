"""Connections to products: the site's authority, a client certificate, a user's password. Imports are late: most runs of most modules need none."""

from __future__ import annotations


def client_context(ca=None, cert=None, key=None):
    """Return an SSL context that trusts the authority's file, else those of the system, and shows a certificate where one is given."""
    import ssl

    context = ssl.create_default_context(cafile=ca)
    if cert:
        context.load_cert_chain(cert, key or cert)
    return context


def opener(url, ca=None, cert=None, key=None):
    """Return urllib's opener for a URL. Proxies of the environment are for the way out, not for a product of the site."""
    import urllib.request

    handlers = [urllib.request.ProxyHandler({})]
    if url.startswith("https"):
        handlers.append(urllib.request.HTTPSHandler(context=client_context(ca, cert, key)))
    return urllib.request.build_opener(*handlers)


def basic_authorization(user, password):
    """Return the value of the header Authorization for a user; an absent password is an empty one."""
    import base64

    return "Basic " + base64.b64encode("{0}:{1}".format(user, password or "").encode()).decode()
