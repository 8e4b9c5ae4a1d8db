/* announced */
#include "relaypool.h"
