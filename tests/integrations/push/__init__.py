"""Tests of KaixuPush, with a stand-in of Netlify."""
