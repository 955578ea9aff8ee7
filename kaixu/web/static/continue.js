// Long work in steps: the form of the next step is sent as soon as the page of the last one is shown.
document.getElementById("close-continue")?.requestSubmit();
